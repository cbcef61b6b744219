package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.SlimBaseStateBackend;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.RunnableFuture;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.PlaceholderStreamStateHandle;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.memory.MemCheckpointStreamFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointTest {
    @TempDir Path folder;

    private final StateBackend factory = new SlimBaseStateBackend();

    private TestJob start(TestJobManager manager, int parallelism, TestJob.Model model, Random random) throws Exception {
        return new TestJob(factory, parallelism, manager.handlesForRestore(), model, random, null);
    }

    private static List<KeyedStateHandle> snapshotAll(TestJob job, TestJobManager manager, long id, CheckpointOptions options)
            throws Exception {
        List<KeyedStateHandle> handles = new ArrayList<>();
        for (Subtask subtask : job.subtasks) {
            handles.add(subtask.snapshot(id, manager.streams(id), options).getJobManagerOwnedSnapshot());
        }
        return handles;
    }

    private static void complete(TestJob job, TestJobManager manager, long id) throws Exception {
        TestJob.Model model = job.model.copy();
        List<KeyedStateHandle> handles = snapshotAll(job, manager, id, Subtask.checkpoint());
        manager.complete(id, handles, model);
        for (Subtask subtask : job.subtasks) {
            subtask.backend.notifyCheckpointComplete(id);
        }
    }

    private static IncrementalRemoteKeyedStateHandle remote(KeyedStateHandle handle) {
        return (IncrementalRemoteKeyedStateHandle) handle;
    }

    private static long newFiles(KeyedStateHandle handle) {
        return remote(handle).getSharedState().stream()
                .filter(file -> !(file.getHandle() instanceof PlaceholderStreamStateHandle))
                .count();
    }

    /** The second checkpoint uploads what changed and refers to the rest; the restored job uses the files again. */
    @Test
    void uploadsOnlyWhatChanged() throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0);
        try (TestJob job = start(manager, 1, TestJob.empty(), new Random(1))) {
            job.change(5000);
            complete(job, manager, 1);
            job.change(10);
            KeyedStateHandle second = snapshotAll(job, manager, 2, Subtask.checkpoint()).get(0);
            assertEquals(1, newFiles(second));
            assertEquals(2, remote(second).getSharedState().size());
            assertTrue(second.getCheckpointedSize() < second.getStateSize() / 2, second.toString());
            manager.complete(2, List.of(second), job.model.copy());
            manager.verifyFiles("after 2");
        }
        manager.restart();
        try (TestJob job = start(manager, 1, manager.restart().model.copy(), new Random(2))) {
            job.verify("restored");
            KeyedStateHandle third = snapshotAll(job, manager, 3, Subtask.checkpoint()).get(0);
            assertEquals(0, newFiles(third));
            assertEquals(2, remote(third).getSharedState().size());
        }
    }

    /** Files of an aborted checkpoint are not used again. */
    @Test
    void abortedCheckpoint() throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0);
        try (TestJob job = start(manager, 1, TestJob.empty(), new Random(1))) {
            job.change(2000);
            List<KeyedStateHandle> first = snapshotAll(job, manager, 1, Subtask.checkpoint());
            TestJobManager.discard(first);
            job.subtasks.get(0).backend.notifyCheckpointAborted(1);
            assertTrue(manager.present().isEmpty());
            KeyedStateHandle second = snapshotAll(job, manager, 2, Subtask.checkpoint()).get(0);
            assertEquals(remote(second).getSharedState().size(), newFiles(second));
            manager.complete(2, List.of(second), job.model.copy());
            manager.verifyFiles("after 2");
        }
        try (TestJob job = start(manager, 1, manager.restart().model, new Random(2))) {
            job.verify("restored");
        }
    }

    /** The notification of a completion comes late: the next checkpoint must not refer to files that the JobManager has deleted. */
    @Test
    void lateNotification() throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0);
        try (TestJob job = start(manager, 1, TestJob.empty(), new Random(1))) {
            job.change(2000);
            manager.complete(1, snapshotAll(job, manager, 1, Subtask.checkpoint()), job.model.copy());
            job.change(100);
            List<KeyedStateHandle> second = snapshotAll(job, manager, 2, Subtask.checkpoint());
            job.subtasks.get(0).backend.notifyCheckpointComplete(1);
            manager.complete(2, second, job.model.copy());
            List<KeyedStateHandle> third = snapshotAll(job, manager, 3, Subtask.checkpoint());
            manager.complete(3, third, job.model.copy());
            manager.verifyFiles("after 3");
        }
        try (TestJob job = start(manager, 1, manager.restart().model, new Random(2))) {
            job.verify("restored");
        }
    }

    /** Two checkpoints under way at once, finished in the other order. */
    @Test
    void concurrentCheckpoints() throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0);
        TestJob.Model model;
        try (TestJob job = start(manager, 1, TestJob.empty(), new Random(1))) {
            job.change(2000);
            complete(job, manager, 1);
            job.change(500);
            Subtask subtask = job.subtasks.get(0);
            RunnableFuture<SnapshotResult<KeyedStateHandle>> second = subtask.begin(2, manager.streams(2), Subtask.checkpoint());
            job.change(500);
            model = job.model.copy();
            RunnableFuture<SnapshotResult<KeyedStateHandle>> third = subtask.begin(3, manager.streams(3), Subtask.checkpoint());
            job.change(500);
            third.run();
            manager.complete(3, List.of(third.get().getJobManagerOwnedSnapshot()), model);
            subtask.backend.notifyCheckpointComplete(3);
            second.run();
            TestJobManager.discard(List.of(second.get().getJobManagerOwnedSnapshot()));
            subtask.backend.notifyCheckpointAborted(2);
            manager.verifyFiles("after 3");
            job.verify("running on");
        }
        try (TestJob job = start(manager, 1, manager.restart().model, new Random(2))) {
            job.verify("restored");
        }
    }

    /** Whichever call to the storage fails, nothing is left behind, and the next checkpoint is whole. */
    @Test
    void failureAtEveryCall() throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0);
        try (TestJob job = start(manager, 1, TestJob.empty(), new Random(1))) {
            job.change(3000);
            complete(job, manager, 1);
            long id = 2;
            int calls = Integer.MAX_VALUE;
            int failures = 0;
            for (int failAt = 1; failAt <= calls; failAt++, id++) {
                job.change(30);
                FaultyStreams streams = new FaultyStreams(manager.streams(id), failAt);
                RunnableFuture<SnapshotResult<KeyedStateHandle>> future =
                        job.subtasks.get(0).begin(id, streams, Subtask.checkpoint());
                future.run();
                if (streams.calls.get() < failAt) {
                    calls = 0;
                    manager.complete(id, List.of(future.get().getJobManagerOwnedSnapshot()), job.model.copy());
                } else {
                    ExecutionException e = assertThrows(ExecutionException.class, future::get);
                    assertTrue(e.getCause().getMessage().contains("injected"), e.toString());
                    job.subtasks.get(0).backend.notifyCheckpointAborted(id);
                    failures++;
                }
                manager.verifyFiles("fail at " + failAt);
            }
            assertTrue(failures > 20, "failures=" + failures);
        }
        try (TestJob job = start(manager, 1, manager.restart().model, new Random(2))) {
            job.verify("restored");
        }
    }

    /** Cancelled at any call, a checkpoint leaves nothing behind. */
    @Test
    void cancelAtEveryCall() throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0);
        try (TestJob job = start(manager, 1, TestJob.empty(), new Random(1))) {
            job.change(3000);
            complete(job, manager, 1);
            long id = 2;
            for (int cancelAt = 1; cancelAt <= 24; cancelAt++, id++) {
                job.change(30);
                List<RunnableFuture<SnapshotResult<KeyedStateHandle>>> self = new ArrayList<>();
                FaultyStreams streams = new FaultyStreams(manager.streams(id), cancelAt, () -> self.get(0).cancel(true));
                self.add(job.subtasks.get(0).begin(id, streams, Subtask.checkpoint()));
                self.get(0).run();
                Thread.interrupted();
                assertTrue(self.get(0).isCancelled(), "calls=" + streams.calls);
                assertThrows(CancellationException.class, () -> self.get(0).get());
                job.subtasks.get(0).backend.notifyCheckpointAborted(id);
                manager.verifyFiles("cancel at " + cancelAt);
            }
            complete(job, manager, id);
            manager.verifyFiles("after all");
        }
        try (TestJob job = start(manager, 1, manager.restart().model, new Random(2))) {
            job.verify("restored");
        }
    }

    /** A checkpoint that was never begun in the background gives its memory back. */
    @Test
    void cancelledBeforeItRan() throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0);
        try (TestJob job = start(manager, 1, TestJob.empty(), new Random(1))) {
            job.change(3000);
            job.subtasks.get(0).begin(1, manager.streams(1), Subtask.checkpoint()).cancel(true);
            job.change(3000);
            complete(job, manager, 2);
            manager.verifyFiles("after 2");
        }
    }

    /** 1→2→4→3→1, each time from the files of the former, which are used again. */
    @Test
    void rescale() throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0);
        TestJob.Model model = TestJob.empty();
        long id = 1;
        int step = 0;
        for (int parallelism : new int[] {1, 2, 4, 3, 1, 3, 2, 1, 1}) {
            try (TestJob job = start(manager, parallelism, model, new Random(parallelism))) {
                // Before anything is read: reading a list of many blocks joins them.
                if (step > 0) {
                    List<KeyedStateHandle> handles = snapshotAll(job, manager, id, Subtask.checkpoint());
                    for (KeyedStateHandle handle : handles) {
                        assertEquals(0, newFiles(handle), "step " + step + " " + handle);
                    }
                    manager.complete(id++, handles, job.model.copy());
                    manager.verifyFiles("step " + step);
                }
                job.verify("step " + step + " restored");
                for (int i = 0; i < 3; i++) {
                    job.change(1500);
                    complete(job, manager, id++);
                    manager.verifyFiles("step " + step + " checkpoint " + i);
                }
                job.verify("step " + step + " end");
            }
            model = manager.restart().model.copy();
            step++;
        }
    }

    /** After NO_CLAIM the first checkpoint uploads everything. */
    @Test
    void fullCheckpointUploadsAll() throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0);
        try (TestJob job = start(manager, 1, TestJob.empty(), new Random(1))) {
            job.change(3000);
            complete(job, manager, 1);
        }
        try (TestJob job = start(manager, 2, manager.restart().model.copy(), new Random(2))) {
            List<KeyedStateHandle> handles = snapshotAll(job, manager, 2, Subtask.fullCheckpoint());
            for (KeyedStateHandle handle : handles) {
                assertEquals(remote(handle).getSharedState().size(), newFiles(handle));
            }
            manager.complete(2, handles, job.model.copy());
            for (Subtask subtask : job.subtasks) {
                subtask.backend.notifyCheckpointComplete(2);
            }
            job.change(10);
            complete(job, manager, 3);
            manager.verifyFiles("after 3");
        }
        try (TestJob job = start(manager, 1, manager.restart().model, new Random(2))) {
            job.verify("restored");
        }
    }

    /** A native savepoint has files of its own, restores, and leaves the next checkpoint incremental. */
    @Test
    void nativeSavepoint() throws Exception {
        TestJobManager manager = new TestJobManager(folder.resolve("chk"), 1, 0);
        TestJobManager savepoints = new TestJobManager(folder.resolve("sav"), 1, 0);
        try (TestJob job = start(manager, 2, TestJob.empty(), new Random(1))) {
            job.change(3000);
            complete(job, manager, 1);
            job.change(300);
            TestJob.Model model = job.model.copy();
            List<KeyedStateHandle> handles = snapshotAll(job, savepoints, 2, Subtask.savepoint(SavepointFormatType.NATIVE));
            for (KeyedStateHandle handle : handles) {
                assertEquals(remote(handle).getSharedState().size(), newFiles(handle));
            }
            for (Subtask subtask : job.subtasks) {
                subtask.backend.notifyCheckpointComplete(2);
            }
            try (TestJob restored = new TestJob(factory, 3, handles, model, new Random(3), null)) {
                restored.verify("from savepoint");
            }
            job.change(10);
            for (KeyedStateHandle handle : snapshotAll(job, manager, 3, Subtask.checkpoint())) {
                assertTrue(newFiles(handle) < remote(handle).getSharedState().size());
            }
        }
    }

    /** With everything in memory, as small jobs have it. */
    @Test
    void inMemoryStorage() throws Exception {
        TestJob.Model model;
        List<KeyedStateHandle> handles = new ArrayList<>();
        try (TestJob job = new TestJob(factory, 2, TestJob.noHandles(), TestJob.empty(), new Random(5), null)) {
            job.change(3000);
            model = job.model.copy();
            for (Subtask subtask : job.subtasks) {
                handles.add(
                        subtask.snapshot(1, new MemCheckpointStreamFactory(50 << 20), Subtask.checkpoint())
                                .getJobManagerOwnedSnapshot());
            }
        }
        try (TestJob job = new TestJob(factory, 3, handles, model, new Random(5), null)) {
            job.verify("restored");
        }
    }

    /** A backend that never had a state has nothing to checkpoint. */
    @Test
    void nothingRegistered() throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0);
        try (TestJob job = start(manager, 1, TestJob.empty(), new Random(1))) {
            KeyedStateHandle handle = job.subtasks.get(0).snapshot(1, manager.streams(1), Subtask.checkpoint()).getJobManagerOwnedSnapshot();
            // The timer queue is registered; no file but the meta one.
            assertEquals(0, remote(handle).getSharedState().size());
            assertEquals(0, remote(handle).getPrivateState().size());
        }
    }
}
