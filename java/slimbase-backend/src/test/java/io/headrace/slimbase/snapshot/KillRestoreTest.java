package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.SlimBaseOptions;
import io.headrace.slimbase.SlimBaseStateBackend;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.RunnableFuture;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SnapshotResult;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Random lives of a job: checkpoints that complete, are aborted, fail or are cut short by a kill; then a restore at another parallelism. */
class KillRestoreTest {
    /** Most of the state is in files, and is read where it lies after a restore. */
    private static final long HARDLY_ANY_BYTES = 1280 << 10;

    private static final int CYCLES = 100;

    @TempDir Path folder;

    private long nextId = 1;

    /** After 100 kills and restores the state is right each time, no file is missing and none is left over. */
    @ParameterizedTest
    @CsvSource({Subtask.MEMORY_BYTES + ", false", HARDLY_ANY_BYTES + ", false", HARDLY_ANY_BYTES + ", true"})
    void hundredCycles(long memoryBytes, boolean leavesFilesInCheckpoints) throws Exception {
        Configuration config = new Configuration();
        if (leavesFilesInCheckpoints) {
            config.set(SlimBaseOptions.CHECKPOINT_FILES_CACHE, MemorySize.ofMebiBytes(64));
        }
        SlimBaseStateBackend factory = new SlimBaseStateBackend().configure(config, getClass().getClassLoader());
        long seed = 20_261_125;
        Random random = new Random(seed);
        TestJobManager manager = new TestJobManager(folder, 2, 300);
        TestJob.Model model = TestJob.empty();
        for (int cycle = 0; cycle < CYCLES; cycle++) {
            String where = "seed=" + seed + " cycle=" + cycle;
            int parallelism = 1 + random.nextInt(4);
            try (TestJob job =
                    new TestJob(
                            factory, parallelism, manager.handlesForRestore(), model, random, null, memoryBytes)) {
                if (cycle % 5 == 0) {
                    job.verify(where);
                }
                int checkpoints = random.nextInt(6);
                for (int i = 0; i < checkpoints; i++) {
                    job.change(random.nextInt(400));
                    checkpoint(job, manager, random);
                    manager.verifyFiles(where + " checkpoint=" + i);
                }
                job.change(random.nextInt(400));
            }
            TestJobManager.Completed last = manager.restart();
            model = last == null ? TestJob.empty() : last.model.copy();
            manager.verifyFiles(where + " restart");
        }
    }

    private void checkpoint(TestJob job, TestJobManager manager, Random random) throws Exception {
        long id = nextId++;
        int fate = random.nextInt(10);
        TestJob.Model model = job.model.copy();
        List<RunnableFuture<SnapshotResult<KeyedStateHandle>>> futures = new ArrayList<>();
        boolean failed = false;
        for (Subtask subtask : job.subtasks) {
            int failAt = fate == 0 ? 1 + random.nextInt(12) : 0;
            boolean full = random.nextInt(15) == 0;
            futures.add(
                    subtask.begin(
                            id,
                            new FaultyStreams(manager.streams(id), failAt),
                            full ? Subtask.fullCheckpoint() : Subtask.checkpoint()));
        }
        job.change(random.nextInt(50));
        List<KeyedStateHandle> acknowledged = new ArrayList<>();
        for (RunnableFuture<SnapshotResult<KeyedStateHandle>> future : futures) {
            if (fate == 1 && random.nextBoolean()) {
                future.cancel(true);
                failed = true;
                continue;
            }
            future.run();
            try {
                acknowledged.add(future.get().getJobManagerOwnedSnapshot());
            } catch (ExecutionException e) {
                failed = true;
            }
        }
        if (failed || fate == 2) {
            TestJobManager.discard(acknowledged);
            if (random.nextInt(4) > 0) {
                for (Subtask subtask : job.subtasks) {
                    subtask.backend.notifyCheckpointAborted(id);
                }
            }
            return;
        }
        manager.complete(id, acknowledged, model);
        // A notification may be lost.
        if (fate > 3) {
            for (Subtask subtask : job.subtasks) {
                subtask.backend.notifyCheckpointComplete(id);
            }
        }
    }
}
