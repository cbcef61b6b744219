package io.headrace.statebench.checkpoint;

import com.sun.management.OperatingSystemMXBean;
import io.headrace.statebench.FolderBytes;
import java.io.File;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.concurrent.RunnableFuture;
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
import org.apache.flink.runtime.state.filesystem.AbstractFsCheckpointStorageAccess;
import org.apache.flink.runtime.state.filesystem.FsCheckpointStorageAccess;

/** Takes confirmed checkpoints into a folder, as a job does that keeps one, and says how long both parts took and how many bytes appeared. */
public final class SnapshotTimer {

    /** Flink's defaults of `execution.checkpointing.data-inline-threshold` and `write-buffer-size`. */
    private static final int INLINE_BYTES = 20 * 1_024;

    private static final int BUFFER_BYTES = 4 * 1_024;

    private final CheckpointableKeyedStateBackend<?> backend;
    private final FsCheckpointStorageAccess storage;
    private final Path folder;
    private final OperatingSystemMXBean process = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private final Path shared;
    private long checkpoint;
    /** The JobManager's: puts real files in the place of a backend's placeholders, and deletes those that no checkpoint has any more. */
    private final SharedStateRegistry registry;

    private KeyedStateHandle newest;

    /** A checkpoint whose synchronous part is over. */
    public final class Begun {
        private final long number;
        private final long bytes;
        private final long cpu;
        private final long begin;
        private final long afterSync;
        private final RunnableFuture<SnapshotResult<KeyedStateHandle>> snapshot;
        private volatile long end;

        private Begun(long number, CheckpointStreamFactory streams) throws Exception {
            this.number = number;
            bytes = FolderBytes.of(folder);
            cpu = process.getProcessCpuTime();
            begin = System.nanoTime();
            snapshot = backend.snapshot(number, number, streams, CheckpointOptions.forCheckpointWithDefaultLocation());
            afterSync = System.nanoTime();
        }

        /** The asynchronous part; any thread. */
        public void run() {
            snapshot.run();
            end = System.nanoTime();
        }

        /** Whether it was run. */
        public boolean isRun() {
            return end != 0;
        }
    }

    /** Files that no checkpoint has any more are deleted at once, so that bytes that appear can be counted. */
    public SnapshotTimer(CheckpointableKeyedStateBackend<?> backend, File folder) throws IOException {
        this(backend, folder, Runnable::run);
    }

    /** Files that no checkpoint has any more are deleted on this executor, as a JobManager does it on one of its own. */
    public SnapshotTimer(CheckpointableKeyedStateBackend<?> backend, File folder, Executor deleter) throws IOException {
        this.backend = backend;
        this.registry = new SharedStateRegistryImpl(deleter);
        this.folder = folder.toPath();
        Files.createDirectories(this.folder);
        JobID job = new JobID();
        org.apache.flink.core.fs.Path path = new org.apache.flink.core.fs.Path(folder.toURI());
        this.storage = new FsCheckpointStorageAccess(path, null, job, INLINE_BYTES, BUFFER_BYTES);
        this.shared = this.folder.resolve(job.toString()).resolve(AbstractFsCheckpointStorageAccess.CHECKPOINT_SHARED_STATE_DIR);
        storage.initializeBaseLocationsForCheckpoint();
    }

    /** Where files are that several checkpoints have. */
    public Path sharedFolder() {
        return shared;
    }

    /** A whole checkpoint in this thread. */
    public Map<String, Object> checkpoint() throws Exception {
        Begun begun = begin();
        begun.run();
        return confirm(begun);
    }

    /** The synchronous part, in the task's thread. */
    public Begun begin() throws Exception {
        checkpoint++;
        storage.initializeLocationForCheckpoint(checkpoint);
        return new Begun(
                checkpoint, storage.resolveCheckpointStorageLocation(checkpoint, CheckpointStorageLocationReference.getDefault()));
    }

    /** Tells the backend, in the task's thread, and gives the one before up. */
    public Map<String, Object> confirm(Begun begun) throws Exception {
        SnapshotResult<KeyedStateHandle> result = begun.snapshot.get();
        Map<String, Object> figures = new LinkedHashMap<>();
        figures.put("sync_ms", (begun.afterSync - begun.begin) / 1e6);
        figures.put("async_ms", (begun.end - begun.afterSync) / 1e6);
        figures.put("cpu_ms", (process.getProcessCpuTime() - begun.cpu) / 1e6);
        figures.put("bytes", FolderBytes.of(folder) - begun.bytes);
        figures.put("bytes_reported", result.getJobManagerOwnedSnapshot().getCheckpointedSize());
        figures.put("bytes_whole", result.getStateSize());
        KeyedStateHandle before = newest;
        newest = result.getJobManagerOwnedSnapshot();
        newest.registerSharedStates(registry, begun.number);
        ((CheckpointListener) backend).notifyCheckpointComplete(begun.number);
        if (before != null) {
            before.discardState();
            registry.unregisterUnusedState(begun.number);
        }
        return figures;
    }

    /** The checkpoint taken last, to restore from. */
    public KeyedStateHandle newest() {
        return newest;
    }
}
