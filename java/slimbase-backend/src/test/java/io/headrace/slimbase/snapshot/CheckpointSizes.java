package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.SlimBaseStateBackend;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.RunnableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackend;

/** Prints bytes and times of checkpoints, ours beside incremental RocksDB's. Not a test: run its main method. Argument: number of keys. */
public final class CheckpointSizes {
    private CheckpointSizes() {}

    /** Takes a first checkpoint, then five with 1 % of the keys changed, then restores. */
    public static void main(String[] arguments) throws Exception {
        int keys = Integer.parseInt(arguments[0]);
        Path folder = Files.createTempDirectory("slim-sizes");
        run("slimbase", new SlimBaseStateBackend(), folder.resolve("slim"), keys);
        run("rocksdb", new EmbeddedRocksDBStateBackend(true), folder.resolve("rocks"), keys);
        org.apache.flink.util.FileUtils.deleteDirectory(folder.toFile());
    }

    private static void run(String name, StateBackend factory, Path folder, int keys) throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0);
        Random random = new Random(1);
        KeyGroupRange range = KeyGroupRange.of(0, Subtask.MAX_PARALLELISM - 1);
        try (Subtask subtask = new Subtask(factory, range, List.of(), null)) {
            for (int key = 0; key < keys; key++) {
                subtask.setValue(key, value(random));
            }
            for (int id = 1; id <= 6; id++) {
                checkpoint(name, manager, subtask, id);
                for (int i = 0; i < keys / 100; i++) {
                    subtask.setValue(random.nextInt(keys), value(random));
                }
            }
        }
        long start = System.nanoTime();
        try (Subtask restored = new Subtask(factory, range, manager.handlesForRestore(), null)) {
            System.out.printf("%s restore_ms=%d%n", name, TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start));
        }
    }

    private static void checkpoint(String name, TestJobManager manager, Subtask subtask, long id) throws Exception {
        long start = System.nanoTime();
        RunnableFuture<SnapshotResult<KeyedStateHandle>> future = subtask.begin(id, manager.streams(id), Subtask.checkpoint());
        long synced = System.nanoTime();
        future.run();
        KeyedStateHandle handle = future.get().getJobManagerOwnedSnapshot();
        long done = System.nanoTime();
        manager.complete(id, List.of(handle), TestJob.empty());
        subtask.backend.notifyCheckpointComplete(id);
        System.out.printf(
                "%s checkpoint=%d sync_us=%d async_ms=%d uploaded_bytes=%d state_bytes=%d%n",
                name,
                id,
                TimeUnit.NANOSECONDS.toMicros(synced - start),
                TimeUnit.NANOSECONDS.toMillis(done - synced),
                handle.getCheckpointedSize(),
                handle.getStateSize());
    }

    private static String value(Random random) {
        return Long.toHexString(random.nextLong()) + " some text that compresses " + random.nextInt(1000);
    }
}
