package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.SlimBaseStateBackend;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.apache.flink.api.common.JobID;
import org.apache.flink.runtime.jobgraph.JobVertexID;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.LocalSnapshotDirectoryProviderImpl;
import org.apache.flink.runtime.state.SnapshotResult;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LocalRecoveryTest {
    @TempDir Path folder;

    private LocalRecoveryConfig local;
    private TestJobManager manager;

    @BeforeEach
    void setUp() throws IOException {
        local =
                LocalRecoveryConfig.backupAndRecoveryEnabled(
                        new LocalSnapshotDirectoryProviderImpl(
                                folder.resolve("local").toFile(), new JobID(), new JobVertexID(), 0));
        manager = new TestJobManager(folder.resolve("remote"), 1, 0);
    }

    private SnapshotResult<KeyedStateHandle> checkpoint(TestJob job, long id) throws Exception {
        SnapshotResult<KeyedStateHandle> result = job.subtasks.get(0).snapshot(id, manager.streams(id), Subtask.checkpoint());
        manager.complete(id, List.of(result.getJobManagerOwnedSnapshot()), job.model.copy());
        job.subtasks.get(0).backend.notifyCheckpointComplete(id);
        return result;
    }

    private TestJob start(List<KeyedStateHandle> handles, TestJob.Model model) throws Exception {
        return new TestJob(new SlimBaseStateBackend(), 1, handles, model, new Random(4), local);
    }

    private long localFiles() throws IOException {
        try (Stream<Path> files = Files.walk(folder.resolve("local"))) {
            return files.filter(Files::isRegularFile).count();
        }
    }

    /** A chain of local restores, each followed by checkpoints that refer to older files; the local copy is whole each time. */
    @Test
    void localRestores() throws Exception {
        List<KeyedStateHandle> handles = TestJob.noHandles();
        TestJob.Model model = TestJob.empty();
        long id = 1;
        for (int life = 0; life < 4; life++) {
            KeyedStateHandle previous = handles.isEmpty() ? null : handles.get(0);
            try (TestJob job = start(handles, model)) {
                job.verify("life " + life);
                SnapshotResult<KeyedStateHandle> result = null;
                for (int i = 0; i < 3; i++) {
                    job.change(800);
                    if (result != null) {
                        result.getTaskLocalSnapshot().discardState();
                    }
                    result = checkpoint(job, id++);
                    assertNotNull(result.getTaskLocalSnapshot(), "life " + life + " checkpoint " + i);
                    manager.verifyFiles("life " + life + " checkpoint " + i);
                }
                handles = List.of(result.getTaskLocalSnapshot());
                model = job.model.copy();
            }
            if (previous != null) {
                previous.discardState();
            }
        }
        // The remote side holds the same.
        try (TestJob job = start(List.of(manager.restart().handles.get(0)), model.copy())) {
            job.verify("remote");
        }
        handles.get(0).discardState();
        assertEquals(0, localFiles());
    }

    /** When the local disk fails the checkpoint goes on without its copy. */
    @Test
    void brokenLocalDisk() throws Exception {
        try (TestJob job = start(TestJob.noHandles(), TestJob.empty())) {
            job.change(500);
            Path blocked = folder.resolve("local");
            Files.deleteIfExists(blocked);
            Files.write(blocked, new byte[1]);
            SnapshotResult<KeyedStateHandle> result =
                    job.subtasks.get(0).snapshot(1, manager.streams(1), Subtask.checkpoint());
            assertNotNull(result.getJobManagerOwnedSnapshot());
            assertTrue(result.getTaskLocalSnapshot() == null);
        }
    }
}
