package io.headrace.slimbase.cold;

import io.headrace.slimbase.file.FileSource;
import io.headrace.slimbase.file.FileSources;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A file of the checkpoint that was restored: read where it lies at first, so that the job runs at once, and from a copy on this machine as soon
 * as there is one. The checkpoint may then go, as it does after a restore without claim.
 */
final class RestoredPlace implements PackedFile.Place {
    private static final Logger LOG = LoggerFactory.getLogger(RestoredPlace.class);
    private static final int COPY_BYTES = 1 << 20;

    private final LocalColdStore.Opening remote;
    private final Path path;
    private volatile boolean isLocal;
    private volatile boolean isDeleted;

    RestoredPlace(LocalColdStore.Opening remote, Path path) {
        this.remote = remote;
        this.path = path;
    }

    boolean isLocal() {
        return isLocal;
    }

    @Override
    public FileSource open() throws IOException {
        return new MovingSource(this, openNow());
    }

    FileSource openNow() throws IOException {
        return isLocal ? FileSources.local(path) : remote.open();
    }

    /** Copies the file to this machine; when that fails, it is read where it lies. */
    void localize() {
        Path part = path.resolveSibling(path.getFileName() + ".part");
        try (FileSource source = remote.open();
                OutputStream out = new BufferedOutputStream(Files.newOutputStream(part), COPY_BYTES)) {
            byte[] buffer = new byte[COPY_BYTES];
            for (long at = 0; at < source.length() && !isDeleted; ) {
                int bytes = (int) Math.min(source.length() - at, buffer.length);
                source.read(at, buffer, 0, bytes);
                out.write(buffer, 0, bytes);
                at += bytes;
            }
            out.flush();
            if (!isDeleted) {
                Files.move(part, path, StandardCopyOption.ATOMIC_MOVE);
                isLocal = true;
            }
        } catch (IOException e) {
            LOG.warn("restored file is read from the checkpoint, since it cannot be copied, path=`{}`", path, e);
        }
        if (isDeleted || !isLocal) {
            deleteQuietly(part);
        }
        if (isDeleted) {
            deleteQuietly(path);
        }
    }

    @Override
    public void delete() {
        isDeleted = true;
        deleteQuietly(path);
    }

    private static void deleteQuietly(Path file) {
        try {
            Files.deleteIfExists(file);
        } catch (IOException e) {
            LOG.warn("file of state cannot be deleted, path=`{}`", file, e);
        }
    }
}
