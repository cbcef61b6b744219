package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.SlimBaseStateBackend;
import io.headrace.slimbase.engine.SlimBaseException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.hashmap.HashMapStateBackend;
import org.apache.flink.runtime.state.memory.MemCheckpointStreamFactory;
import org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackend;
import org.apache.flink.util.ExceptionUtils;
import org.junit.jupiter.api.Test;

class SavepointTest {
    private static List<KeyedStateHandle> savepoint(TestJob job, long id) throws Exception {
        List<KeyedStateHandle> handles = new ArrayList<>();
        for (Subtask subtask : job.subtasks) {
            handles.add(subtask.canonicalSavepoint(id, new MemCheckpointStreamFactory(100 << 20)));
        }
        return handles;
    }

    /** A job goes from backend to backend through canonical savepoints, rescaled on the way, and loses nothing. */
    @Test
    void switchesThroughAllBackends() throws Exception {
        StateBackend slim = new SlimBaseStateBackend();
        StateBackend rocks = new EmbeddedRocksDBStateBackend();
        StateBackend heap = new HashMapStateBackend();
        StateBackend[] route = {slim, rocks, slim, heap, slim, slim, rocks, heap, slim};
        int[] parallelism = {1, 2, 3, 2, 2, 1, 1, 3, 4};
        List<KeyedStateHandle> handles = TestJob.noHandles();
        TestJob.Model model = TestJob.empty();
        Random random = new Random(11);
        for (int step = 0; step < route.length; step++) {
            try (TestJob job = new TestJob(route[step], parallelism[step], handles, model, random, null)) {
                job.verify("step " + step + " restored");
                job.change(1500);
                if (route[step] == slim) {
                    // Several epochs, so that versions, tombstones and chains lie in several segments.
                    savepoint(job, 1);
                    job.change(1500);
                }
                model = job.model.copy();
                handles = savepoint(job, 2);
                job.change(100);
            }
        }
    }

    /** Checkpoints of another backend are refused with the way out. */
    @Test
    void foreignCheckpointIsUnsupported() throws Exception {
        List<KeyedStateHandle> handles = new ArrayList<>();
        try (TestJob job = new TestJob(new HashMapStateBackend(), 1, TestJob.noHandles(), TestJob.empty(), new Random(1), null)) {
            job.change(100);
            handles.add(
                    job.subtasks.get(0)
                            .snapshot(1, new MemCheckpointStreamFactory(10 << 20), Subtask.checkpoint())
                            .getJobManagerOwnedSnapshot());
        }
        Exception e =
                assertThrows(
                        Exception.class,
                        () -> new TestJob(new SlimBaseStateBackend(), 1, handles, TestJob.empty(), new Random(1), null));
        SlimBaseException ours = ExceptionUtils.findThrowable(e, SlimBaseException.class).orElseThrow();
        assertEquals(SlimBaseException.Kind.Unsupported, ours.kind());
        assertTrue(ours.getMessage().contains("canonical"), ours.getMessage());
    }
}
