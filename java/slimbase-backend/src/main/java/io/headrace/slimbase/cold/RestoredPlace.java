package io.headrace.slimbase.cold;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.file.CachedSource;
import io.headrace.slimbase.file.CheckedCopy;
import io.headrace.slimbase.file.FileSource;
import io.headrace.slimbase.file.FileSources;
import io.headrace.slimbase.file.SteadyOutput;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A file of the checkpoint that was restored: read where it lies at first, so that the job runs at once, and from a copy on this machine as soon
 * as there is one. The checkpoint may then go, as it does after a restore without claim.
 */
final class RestoredPlace implements PackedFile.Place {
    private static final Logger LOG = LoggerFactory.getLogger(RestoredPlace.class);
    private static final int COPY_BYTES = 1 << 20;

    private final CheckpointFile file;
    /** For all who read here and there while there is no copy; null when the file is near. */
    private final CachedSource ranges;

    private final Path path;
    /** Deletes a file beside the task. */
    private final Consumer<Path> deleter;

    private volatile boolean isLocal;
    private volatile boolean isDeleted;
    private boolean wasTold;

    RestoredPlace(CheckpointFile file, Path path, CachedSource ranges, Consumer<Path> deleter) {
        this.file = file;
        this.path = path;
        this.deleter = deleter;
        this.ranges = ranges;
    }

    /** For messages. */
    String name() {
        return file.name();
    }

    boolean isLocal() {
        return isLocal;
    }

    @Override
    public FileSource open() throws IOException {
        if (isLocal) {
            return openCopy();
        }
        return new MovingSource(this, ranges != null ? ranges : file.open());
    }

    @Override
    public FileSource openInOrder() throws IOException {
        return isLocal ? openCopy() : new MovingSource(this, file.open());
    }

    @Override
    public boolean isMissing(Exception failure) {
        return !isLocal && file.isMissing(failure);
    }

    FileSource openCopy() throws IOException {
        return FileSources.local(path);
    }

    /** Closes what read the checkpoint's file, unless others read with it. */
    void closeFar(FileSource source) throws IOException {
        if (source != ranges) {
            source.close();
        }
    }

    /**
     * Copies the file to this machine, or links it where it is on this machine already; when that fails, it is read where it lies.
     *
     * @return whether there is a copy, or none is needed any more
     */
    boolean localize() {
        Path part = path.resolveSibling(path.getFileName() + ".part");
        try {
            if (!isLinked(part)) {
                copy(part);
            }
            if (!isDeleted) {
                Files.move(part, path, StandardCopyOption.ATOMIC_MOVE);
                isLocal = true;
            }
        } catch (IOException | SlimBaseException e) {
            if (!wasTold && !Thread.currentThread().isInterrupted()) {
                wasTold = true;
                LOG.warn(
                        "restored file is read from the checkpoint until it can be copied; told once, file=`{}`, path=`{}`", file.name(), path, e);
            }
        }
        if (isDeleted || !isLocal) {
            deleteQuietly(part);
        } else {
            releaseRanges();
        }
        if (isDeleted) {
            deleteQuietly(path);
        }
        return isDeleted || isLocal;
    }

    /** A second name for the checkpoint's file, where both are on one file system: its bytes never change, and stay when the checkpoint goes. */
    private boolean isLinked(Path part) {
        Path original = file.onThisMachine();
        if (original == null) {
            return false;
        }
        try {
            Files.deleteIfExists(part);
            Files.createLink(part, original);
            return true;
        } catch (IOException | UnsupportedOperationException | IllegalArgumentException e) {
            // Other file systems, or one that does not know links.
            LOG.debug("restored file is copied, not linked, file=`{}`, path=`{}`", original, part, e);
            return false;
        }
    }

    private void copy(Path part) throws IOException {
        try (FileSource source = file.open();
                OutputStream out = new BufferedOutputStream(SteadyOutput.to(part), COPY_BYTES)) {
            // What is spoilt on the way would stay; read again it may be right.
            new CheckedCopy(source, () -> !isDeleted).to(out);
        }
    }

    @Override
    public void delete() {
        isDeleted = true;
        releaseRanges();
        if (isLocal) {
            deleter.accept(path);
        }
    }

    private void releaseRanges() {
        if (ranges != null) {
            ranges.release();
        }
    }

    private static void deleteQuietly(Path file) {
        try {
            Files.deleteIfExists(file);
        } catch (IOException e) {
            LOG.warn("file of state cannot be deleted, path=`{}`", file, e);
        }
    }
}
