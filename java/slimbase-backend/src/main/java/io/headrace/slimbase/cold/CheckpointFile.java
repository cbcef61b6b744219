package io.headrace.slimbase.cold;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.file.FileSource;
import io.headrace.slimbase.file.FileSources;
import io.headrace.slimbase.file.RetryingSource;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;

/** A file of a checkpoint that is restored. Any thread; nothing is opened before it is read. */
public final class CheckpointFile {
    private final String name;
    private final RetryingSource.Opening opening;
    private final boolean isFar;
    /** Where a file system has it; null when it is elsewhere. */
    private final org.apache.flink.core.fs.Path stored;

    /** Of a file of this machine unknown until it is opened: -1. */
    private final long bytes;

    private CheckpointFile(String name, RetryingSource.Opening opening, org.apache.flink.core.fs.Path stored, long bytes) {
        this.name = name;
        this.opening = opening;
        this.stored = stored;
        this.isFar = isFar(stored);
        this.bytes = bytes;
    }

    /** A file of this machine. */
    public static CheckpointFile local(Path path) {
        return new CheckpointFile(path.toString(), () -> FileSources.local(path), null, -1);
    }

    /** A file of the checkpoint storage; the name is the one that the manifest gives it. */
    public static CheckpointFile stored(String name, StreamStateHandle handle) {
        String described = name + " at " + handle.getStreamStateHandleID().getKeyString();
        long bytes = handle.getStateSize();
        org.apache.flink.core.fs.Path path = handle instanceof FileStateHandle ? ((FileStateHandle) handle).getFilePath() : null;
        return new CheckpointFile(described, () -> stream(described, handle, bytes), path, bytes);
    }

    private static FileSource stream(String name, StreamStateHandle handle, long bytes) throws IOException {
        FSDataInputStream stream;
        try {
            stream = handle.openInputStream();
        } catch (RuntimeException e) {
            throw FileSources.ofClient(e);
        }
        return FileSources.stream(name, stream, bytes);
    }

    private static boolean isFar(org.apache.flink.core.fs.Path path) {
        try {
            return path != null && path.getFileSystem().isDistributedFS();
        } catch (IOException e) {
            // Reading will say what is wrong.
            return true;
        }
    }

    /** Whether reading failed because there is no such file. S3's clients fail to read what is not there as they fail to read anything: the storage is asked. */
    public boolean isMissing(Throwable failure) {
        if (failure instanceof FileNotFoundException || failure instanceof NoSuchFileException) {
            return true;
        }
        boolean isUnavailable =
                failure instanceof SlimBaseException && ((SlimBaseException) failure).kind() == SlimBaseException.Kind.Unavailable;
        return isUnavailable && stored != null && !exists();
    }

    private boolean exists() {
        try {
            return stored.getFileSystem().exists(stored);
        } catch (IOException | RuntimeException e) {
            // What made us ask is what is told.
            return true;
        }
    }

    /** For messages: what it is called, and where it is. */
    public String name() {
        return name;
    }

    /** Whether the storage is another machine's: a read takes milliseconds, and its own operating system is what caches. */
    boolean isFar() {
        return isFar;
    }

    /** Opens the file for reading in order, with tries again. */
    public FileSource open() throws IOException {
        if (bytes < 0) {
            return opening.open();
        }
        return new RetryingSource(name, bytes, opening, TimeUnit.NANOSECONDS::sleep, true);
    }

    /** Opens the file for reading here and there. */
    RetryingSource.Opening opening() {
        return opening;
    }

    /** Length in bytes, of a file of the storage. */
    long bytes() {
        return bytes;
    }
}
