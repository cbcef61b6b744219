package io.headrace.slimbase.differential;

import static org.assertj.core.api.Assertions.assertThat;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.suites.SuiteBackends;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.CheckpointType;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.checkpoint.SnapshotType;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.ttl.MockTtlTimeProvider;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * State of several times its memory, restored with another parallelism again and again. Files are then opened where they lie and hold old versions
 * of key groups that another subtask has, which no later checkpoint or savepoint may bring back.
 */
class RescaleBeyondMemoryTest {
    private static final int KEYS = 20_000;
    private static final long MEMORY_BYTES = 1 << 20;
    private static final int[] PARALLELISMS = {4, 1, 3, 1, 2, 4, 3};

    @TempDir Path folder;

    private final MockTtlTimeProvider clock = new MockTtlTimeProvider();
    private final ExecutorService executor = Executors.newFixedThreadPool(2);
    private final TreeMap<Long, String> model = new TreeMap<>();
    private final Random random = new Random(20_261_125);
    private Subject<Long> subject;

    @AfterEach
    void stop() throws Exception {
        subject.stop();
        executor.shutdownNow();
    }

    /** Checkpoints that share files and native savepoints that copy them, in turns. */
    @Test
    void filesOfOtherKeyGroupsDoNotComeBack() throws Exception {
        subject =
                new Subject<>(
                        "slimbase-files",
                        SuiteBackends.slimBase(NativeMode.AUTO),
                        LongSerializer.INSTANCE,
                        clock,
                        Files.createDirectories(folder.resolve("checkpoints")),
                        MEMORY_BYTES);
        subject.start(1, List.of());
        change(KEYS * 2);
        for (int round = 0; round < PARALLELISMS.length * 2; round++) {
            SnapshotType type = round % 2 == 0 ? CheckpointType.CHECKPOINT : SavepointType.savepoint(SavepointFormatType.NATIVE);
            CheckpointOptions options = new CheckpointOptions(type, CheckpointStorageLocationReference.getDefault());
            Subject.Snapshot snapshot = subject.checkpoint(round + 1, options, executor);
            var handles = snapshot.handles();
            subject.confirm(round + 1);
            subject.start(PARALLELISMS[round % PARALLELISMS.length], new ArrayList<>(handles));
            assertContent("round " + round);
            change(KEYS / 10);
        }
    }

    private ValueState<String> state(long key) throws Exception {
        return States.get(subject.at(key).backend, States.strings(0), 0, "");
    }

    private void change(int times) throws Exception {
        for (int i = 0; i < times; i++) {
            long key = random.nextInt(KEYS);
            if (random.nextInt(3) == 0) {
                state(key).clear();
                model.remove(key);
            } else {
                String value = Long.toString(random.nextLong(), 36).repeat(1 + random.nextInt(12));
                state(key).update(value);
                model.put(key, value);
            }
        }
    }

    private void assertContent(String when) throws Exception {
        for (long key = 0; key < KEYS; key++) {
            assertThat(state(key).value()).as("%s, key %s", when, key).isEqualTo(model.get(key));
        }
    }
}
