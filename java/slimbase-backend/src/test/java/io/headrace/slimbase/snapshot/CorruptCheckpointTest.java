package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.SlimBaseStateBackend;
import io.headrace.slimbase.engine.SlimBaseException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.apache.flink.runtime.state.BackendBuildingException;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;
import org.apache.flink.util.ExceptionUtils;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A checkpoint whose files were harmed is refused as Corrupt, so that Flink goes on to an older one. */
class CorruptCheckpointTest {
    @TempDir Path folder;

    private TestJobManager manager;
    private TestJob.Model model;
    private final List<Path> data = new ArrayList<>();
    private Path meta;

    @BeforeEach
    void takeCheckpoint() throws Exception {
        manager = new TestJobManager(folder, 1, 0);
        try (TestJob job = new TestJob(new SlimBaseStateBackend(), 1, TestJob.noHandles(), TestJob.empty(), new Random(1), null)) {
            job.change(3000);
            KeyedStateHandle handle =
                    job.subtasks.get(0).snapshot(1, manager.streams(1), Subtask.checkpoint()).getJobManagerOwnedSnapshot();
            model = job.model.copy();
            manager.complete(1, List.of(handle), model);
            IncrementalRemoteKeyedStateHandle remote = (IncrementalRemoteKeyedStateHandle) handle;
            remote.getSharedState().forEach(file -> data.add(path(file.getHandle())));
            remote.getPrivateState().forEach(file -> data.add(path(file.getHandle())));
            meta = path(remote.getMetaDataStateHandle());
        }
        assertEquals(2, data.size());
    }

    private static Path path(StreamStateHandle handle) {
        return Path.of(((FileStateHandle) handle).getFilePath().getPath());
    }

    private SlimBaseException restoreFails() {
        Exception e =
                assertThrows(
                        BackendBuildingException.class,
                        () -> new TestJob(new SlimBaseStateBackend(), 2, manager.handlesForRestore(), model, new Random(1), null));
        return ExceptionUtils.findThrowable(e, SlimBaseException.class).orElseThrow(() -> new AssertionError(e));
    }

    private void restoreWorks() throws Exception {
        try (TestJob job = new TestJob(new SlimBaseStateBackend(), 2, manager.handlesForRestore(), model.copy(), new Random(1), null)) {
            job.verify("mended");
        }
    }

    /** Bits flipped at many places of segment, timers and meta file: refused, with the file's name. */
    @Test
    void flippedBits() throws Exception {
        Random random = new Random(5);
        List<Path> all = new ArrayList<>(data);
        all.add(meta);
        for (Path file : all) {
            byte[] whole = Files.readAllBytes(file);
            for (int i = 0; i < 12; i++) {
                byte[] harmed = whole.clone();
                harmed[random.nextInt(whole.length)] ^= (byte) (1 << random.nextInt(8));
                Files.write(file, harmed);
                SlimBaseException e = restoreFails();
                assertTrue(e.kind() == SlimBaseException.Kind.Corrupt || e.kind() == SlimBaseException.Kind.Unsupported, e.toString());
                assertTrue(e.getMessage().contains(file.getFileName().toString()), e.getMessage());
            }
            Files.write(file, whole);
        }
        restoreWorks();
    }

    /** Cut off. */
    @Test
    void truncated() throws Exception {
        List<Path> all = new ArrayList<>(data);
        all.add(meta);
        for (Path file : all) {
            byte[] whole = Files.readAllBytes(file);
            for (int length : new int[] {0, 1, whole.length / 3, whole.length / 2, whole.length - 33, whole.length - 1}) {
                Files.write(file, Arrays.copyOf(whole, length));
                assertEquals(SlimBaseException.Kind.Corrupt, restoreFails().kind(), file + " cut to " + length);
            }
            Files.write(file, whole);
        }
        restoreWorks();
    }

    /** Gone. */
    @Test
    void missing() throws Exception {
        List<Path> all = new ArrayList<>(data);
        all.add(meta);
        for (Path file : all) {
            byte[] whole = Files.readAllBytes(file);
            Files.delete(file);
            SlimBaseException e = restoreFails();
            assertEquals(SlimBaseException.Kind.Corrupt, e.kind());
            assertTrue(e.getMessage().contains("missing"), e.getMessage());
            Files.write(file, whole);
        }
        restoreWorks();
    }

    /** A whole, valid file in the place of another. */
    @Test
    void swapped() throws IOException {
        Files.copy(data.get(1), data.get(0), java.nio.file.StandardCopyOption.REPLACE_EXISTING);
        assertFalse(data.get(0).equals(data.get(1)));
        assertEquals(SlimBaseException.Kind.Corrupt, restoreFails().kind());
    }
}
