package io.headrace.slimbase.cold;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.file.FileSource;
import io.headrace.slimbase.file.FileSources;
import io.headrace.slimbase.file.RetryingSource;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;

/** A file of a checkpoint. Any thread; nothing is opened before it is read. */
public final class CheckpointFile {
    private final String name;
    private final RetryingSource.Opening opening;
    private final boolean isFar;
    /** Where a file system has it; null when it is elsewhere. */
    private final org.apache.flink.core.fs.Path stored;

    /** On this machine; null when it is not, or elsewhere than in a file. */
    private final Path onThisMachine;

    /** Of a file of this machine unknown until it is opened: -1. */
    private final long bytes;

    private CheckpointFile(
            String name, RetryingSource.Opening opening, org.apache.flink.core.fs.Path stored, Path onThisMachine, long bytes) {
        this.name = name;
        this.opening = opening;
        this.stored = stored;
        this.onThisMachine = onThisMachine;
        this.isFar = isFar(stored);
        this.bytes = bytes;
    }

    /** A file of this machine. */
    public static CheckpointFile local(Path path) {
        return new CheckpointFile(path.toString(), () -> FileSources.local(path), null, path, -1);
    }

    /** A file of the checkpoint storage; the name is the one that the manifest gives it. */
    public static CheckpointFile stored(String name, StreamStateHandle handle) {
        String described = name + " at " + handle.getStreamStateHandleID().getKeyString();
        long bytes = handle.getStateSize();
        org.apache.flink.core.fs.Path path = handle instanceof FileStateHandle ? ((FileStateHandle) handle).getFilePath() : null;
        return new CheckpointFile(described, () -> stream(described, handle, bytes), path, local(path), bytes);
    }

    /**
     * A file of the storage that may come to lie elsewhere.
     *
     * @param elsewhere asked when the file is missing; gives handles of the same bytes, of which some may be gone, too
     */
    public static CheckpointFile stored(String name, StreamStateHandle handle, Supplier<List<StreamStateHandle>> elsewhere) {
        CheckpointFile file = stored(name, handle);
        RetryingSource.Opening opening =
                () -> {
                    try {
                        return file.opening.open();
                    } catch (IOException e) {
                        FileSource found = file.isMissing(e) ? firstOf(elsewhere.get(), file) : null;
                        if (found == null) {
                            throw e;
                        }
                        return found;
                    }
                };
        return new CheckpointFile(file.name, opening, file.stored, file.onThisMachine, file.bytes);
    }

    private static FileSource firstOf(List<StreamStateHandle> handles, CheckpointFile file) {
        for (StreamStateHandle handle : handles) {
            try {
                return stream(file.name, handle, file.bytes);
            } catch (IOException e) {
                // The next one, or what was missing in the first place.
            }
        }
        return null;
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

    private static Path local(org.apache.flink.core.fs.Path path) {
        return path != null && "file".equals(path.toUri().getScheme()) ? Path.of(path.toUri().getPath()) : null;
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

    /** Where it lies on this machine; null when it does not, or not in a file. */
    Path onThisMachine() {
        return onThisMachine;
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
