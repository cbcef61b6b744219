package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.SlimBaseStateBackend;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.PlaceholderStreamStateHandle;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Subtasks that registered their states in different orders have other numbers for them. */
class StateIdsTest {
    private static final KeyGroupRange LOW = KeyGroupRange.of(0, 7);
    private static final KeyGroupRange HIGH = KeyGroupRange.of(8, 15);

    @TempDir Path folder;

    private static int keyIn(KeyGroupRange range) {
        int key = 0;
        while (!range.contains(KeyGroupRangeAssignment.assignToKeyGroup(key, Subtask.MAX_PARALLELISM))) {
            key++;
        }
        return key;
    }

    /** Merged after a scale-in: numbers are translated, and only files whose numbers are ours are used again. */
    @Test
    void numbersAreTranslated() throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0);
        int low = keyIn(LOW);
        int high = keyIn(HIGH);
        try (Subtask first = new Subtask(new SlimBaseStateBackend(), LOW, List.of(), null);
                Subtask second = new Subtask(new SlimBaseStateBackend(), HIGH, List.of(), null)) {
            first.setValue(low, "low");
            first.addToList(low, "a");
            first.putInMap(low, "m", 1L);
            second.putInMap(high, "m", 2L);
            second.addToList(high, "b");
            second.setValue(high, "high");
            manager.complete(
                    1,
                    List.of(
                            first.snapshot(1, manager.streams(1), Subtask.checkpoint()).getJobManagerOwnedSnapshot(),
                            second.snapshot(1, manager.streams(1), Subtask.checkpoint()).getJobManagerOwnedSnapshot()),
                    TestJob.empty());
        }
        for (long id = 2; id <= 3; id++) {
            manager.restart();
            KeyGroupRange whole = KeyGroupRange.of(0, 15);
            try (Subtask merged = new Subtask(new SlimBaseStateBackend(), whole, manager.handlesForRestore(), null)) {
                assertEquals("low [a] {m=1}", merged.read(low).toString());
                assertEquals("high [b] {m=2}", merged.read(high).toString());
                KeyedStateHandle handle = merged.snapshot(id, manager.streams(id), Subtask.checkpoint()).getJobManagerOwnedSnapshot();
                if (id == 2) {
                    long reused =
                            ((IncrementalRemoteKeyedStateHandle) handle)
                                    .getSharedState().stream()
                                            .filter(file -> file.getHandle() instanceof PlaceholderStreamStateHandle)
                                            .count();
                    assertEquals(1, reused);
                }
                manager.complete(id, List.of(handle), TestJob.empty());
                manager.verifyFiles("checkpoint " + id);
            }
        }
    }

    /** Timers of several subtasks come together in one queue, and go apart again. */
    @Test
    void timersFollowTheirKeyGroups() throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0);
        TestJob.Model model = TestJob.empty();
        Random random = new Random(9);
        long id = 0;
        for (int parallelism : new int[] {2, 1, 4}) {
            id++;
            try (TestJob job = new TestJob(new SlimBaseStateBackend(), parallelism, manager.handlesForRestore(), model, random, null)) {
                job.verify("parallelism " + parallelism);
                job.change(600);
                assertFalse(job.model.timers.isEmpty());
                List<KeyedStateHandle> handles = new ArrayList<>();
                for (Subtask subtask : job.subtasks) {
                    handles.add(
                            subtask.snapshot(id, manager.streams(id), Subtask.checkpoint())
                                    .getJobManagerOwnedSnapshot());
                }
                manager.complete(id, handles, job.model.copy());
                model = job.model.copy();
            }
        }
        assertTrue(model.timers.size() > 50);
    }
}
