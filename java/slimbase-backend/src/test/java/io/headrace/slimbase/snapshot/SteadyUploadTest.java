package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.SlimBaseStateBackend;
import io.headrace.slimbase.faults.FileWatch.Kind;
import io.headrace.slimbase.faults.WatchedFileSystem;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.Map;
import java.util.Random;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A checkpoint on a disk of this machine is brought there piece by piece; a storage elsewhere is left to its client. */
class SteadyUploadTest {
    private static final int VALUES = 40;
    private static final int VALUE_CHARACTERS = 1 << 20;
    private static final int PIECES = 2;
    private static final int SMALL_BUFFER = 4096;
    private static final int LARGE_BUFFER = 64 << 20;

    @TempDir Path folder;

    @AfterEach
    void stopWatching() {
        WatchedFileSystem.WATCH.end();
    }

    /** Syncs while 40 MB of values are written to a checkpoint, beyond the one that Flink makes at the end of each file. */
    private int syncs(String scheme, int bufferBytes) throws Exception {
        TestJobManager manager = new TestJobManager(folder, 1, 0, scheme);
        KeyGroupRange all = KeyGroupRange.of(0, Subtask.MAX_PARALLELISM - 1);
        try (Subtask subtask = new Subtask(new SlimBaseStateBackend(), all, TestJob.noHandles(), null)) {
            Random random = new Random(1);
            for (int key = 0; key < VALUES; key++) {
                StringBuilder value = new StringBuilder(VALUE_CHARACTERS);
                random.ints(VALUE_CHARACTERS, 1, 128).forEach(c -> value.append((char) c));
                subtask.setValue(key, value.toString());
            }
            Map<Kind, Integer> counts = new EnumMap<>(Kind.class);
            WatchedFileSystem.WATCH.begin(operation -> counts.merge(operation.kind, 1, Integer::sum));
            long bytes = subtask.snapshot(1, manager.streams(1, bufferBytes), Subtask.checkpoint()).getStateSize();
            assertTrue(bytes > VALUES * (VALUE_CHARACTERS / 2), "bytes=" + bytes);
            return counts.get(Kind.SYNC) - counts.get(Kind.CREATE);
        }
    }

    @Test
    void localDisk() throws Exception {
        assertEquals(PIECES, syncs(WatchedFileSystem.NEAR, SMALL_BUFFER));
    }

    /** Flink's stream makes its file when its buffer is full. */
    @Test
    void largeBuffer() throws Exception {
        assertEquals(PIECES, syncs(WatchedFileSystem.NEAR, LARGE_BUFFER));
    }

    @Test
    void storageElsewhere() throws Exception {
        assertEquals(0, syncs(WatchedFileSystem.FAR, SMALL_BUFFER));
    }
}
