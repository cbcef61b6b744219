package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.registry.BackendContext;
import java.io.File;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.UUID;
import org.apache.flink.runtime.checkpoint.SnapshotType.SharingFilesStrategy;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.LocalSnapshotDirectoryProvider;
import org.apache.flink.util.FileUtils;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Files of the newest checkpoint on this machine, so that the next one's local copy links them instead of writing them again. Does nothing unless
 * local recovery is on. Thread-safe.
 */
final class LocalFiles {
    private static final Logger LOG = LoggerFactory.getLogger(LocalFiles.class);

    private final LocalSnapshotDirectoryProvider directories;
    private final String directoryName;
    private Path cache;
    private boolean closed;

    private LocalFiles(LocalSnapshotDirectoryProvider directories, UUID backendUuid) {
        this.directories = directories;
        this.directoryName = backendUuid.toString().replace("-", "");
    }

    static LocalFiles of(BackendContext<?> context, RestoredState restored) {
        LocalRecoveryConfig config = context.localRecovery();
        boolean enabled = config != null && config.isLocalBackupEnabled();
        return new LocalFiles(
                enabled
                        ? config.getLocalStateDirectoryProvider().orElseThrow(LocalRecoveryConfig.localRecoveryNotEnabled())
                        : null,
                restored.backendUuid());
    }

    /** The copy of one checkpoint. When its directory cannot be made, the checkpoint goes without. */
    LocalSnapshot begin(long checkpointId, SharingFilesStrategy sharing) {
        if (directories == null || sharing == SharingFilesStrategy.NO_SHARING) {
            return new LocalSnapshot();
        }
        try {
            File directory = new File(directories.subtaskSpecificCheckpointDirectory(checkpointId), directoryName);
            FileUtils.deleteDirectory(directory);
            Files.createDirectories(directory.toPath());
            openCache(checkpointId);
            return new DirectorySnapshot(this, directories, checkpointId, directory.toPath());
        } catch (IOException e) {
            LOG.warn("checkpoint goes without a local copy, checkpoint_id={}", checkpointId, e);
            return new LocalSnapshot();
        }
    }

    private synchronized void openCache(long checkpointId) throws IOException {
        if (cache == null && !closed) {
            cache = directories.subtaskBaseDirectory(checkpointId).toPath().resolve("slimbase-" + directoryName);
            Files.createDirectories(cache);
        }
    }

    /** Puts a written file in, in the place of another of that name. */
    synchronized void add(String name, Path file) throws IOException {
        if (cache != null) {
            Path kept = cache.resolve(name);
            Files.deleteIfExists(kept);
            link(kept, file);
        }
    }

    /** Gives the file of that name; false when there is none. */
    synchronized boolean linkTo(String name, Path file) throws IOException {
        if (cache == null || !Files.exists(cache.resolve(name))) {
            return false;
        }
        link(file, cache.resolve(name));
        return true;
    }

    private static void link(Path link, Path existing) throws IOException {
        try {
            Files.createLink(link, existing);
        } catch (FileAlreadyExistsException e) {
            throw e;
        } catch (IOException | UnsupportedOperationException e) {
            // Another disk, or a file system without links.
            Files.copy(existing, link);
        }
    }

    /** Deletes what the newest checkpoint no longer has. */
    synchronized void retain(Set<String> names) throws IOException {
        if (cache == null) {
            return;
        }
        for (Path each : FileUtils.listDirectory(cache)) {
            if (!names.contains(each.getFileName().toString())) {
                Files.deleteIfExists(each);
            }
        }
    }

    synchronized void close() {
        closed = true;
        if (cache != null) {
            FileUtils.deleteDirectoryQuietly(cache.toFile());
            cache = null;
        }
    }
}
