package io.headrace.statebench.checkpoint;

import com.sun.management.OperatingSystemMXBean;
import java.io.File;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.RunnableFuture;
import java.util.stream.Stream;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.CheckpointableKeyedStateBackend;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SharedStateRegistry;
import org.apache.flink.runtime.state.SharedStateRegistryImpl;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.filesystem.FsCheckpointStorageAccess;

/** Takes confirmed checkpoints into a folder and says how long both parts took and how many bytes appeared. */
final class SnapshotTimer {

    /** Flink's defaults of `execution.checkpointing.data-inline-threshold` and `write-buffer-size`. */
    private static final int INLINE_BYTES = 20 * 1_024;

    private static final int BUFFER_BYTES = 4 * 1_024;

    private final CheckpointableKeyedStateBackend<?> backend;
    private final FsCheckpointStorageAccess storage;
    private final Path folder;
    private long checkpoint;
    /** The JobManager's: puts real files in the place of a backend's placeholders. */
    private final SharedStateRegistry registry = new SharedStateRegistryImpl();

    private KeyedStateHandle newest;

    SnapshotTimer(CheckpointableKeyedStateBackend<?> backend, File folder) throws IOException {
        this.backend = backend;
        this.folder = folder.toPath();
        Files.createDirectories(this.folder);
        org.apache.flink.core.fs.Path path = new org.apache.flink.core.fs.Path(folder.toURI());
        this.storage = new FsCheckpointStorageAccess(path, null, new JobID(), INLINE_BYTES, BUFFER_BYTES);
        storage.initializeBaseLocationsForCheckpoint();
    }

    Map<String, Object> checkpoint() throws Exception {
        checkpoint++;
        storage.initializeLocationForCheckpoint(checkpoint);
        CheckpointStreamFactory streams = storage.resolveCheckpointStorageLocation(
                checkpoint, CheckpointStorageLocationReference.getDefault());
        OperatingSystemMXBean process = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        long bytes = folderBytes();
        long cpu = process.getProcessCpuTime();
        long begin = System.nanoTime();
        RunnableFuture<SnapshotResult<KeyedStateHandle>> snapshot = backend.snapshot(
                checkpoint, checkpoint, streams, CheckpointOptions.forCheckpointWithDefaultLocation());
        long afterSync = System.nanoTime();
        snapshot.run();
        SnapshotResult<KeyedStateHandle> result = snapshot.get();
        long end = System.nanoTime();
        Map<String, Object> figures = new LinkedHashMap<>();
        figures.put("sync_ms", (afterSync - begin) / 1e6);
        figures.put("async_ms", (end - afterSync) / 1e6);
        figures.put("cpu_ms", (process.getProcessCpuTime() - cpu) / 1e6);
        figures.put("bytes", folderBytes() - bytes);
        figures.put("bytes_reported", result.getJobManagerOwnedSnapshot().getCheckpointedSize());
        figures.put("bytes_whole", result.getStateSize());
        newest = result.getJobManagerOwnedSnapshot();
        newest.registerSharedStates(registry, checkpoint);
        ((CheckpointListener) backend).notifyCheckpointComplete(checkpoint);
        return figures;
    }

    /** The checkpoint taken last, to restore from. */
    KeyedStateHandle newest() {
        return newest;
    }

    private long folderBytes() throws IOException {
        try (Stream<Path> files = Files.walk(folder)) {
            return files.filter(Files::isRegularFile).mapToLong(file -> file.toFile().length()).sum();
        }
    }
}
