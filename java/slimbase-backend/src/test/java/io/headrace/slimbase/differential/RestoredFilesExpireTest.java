package io.headrace.slimbase.differential;

import static org.assertj.core.api.Assertions.assertThat;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.suites.SuiteBackends;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.locks.LockSupport;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.state.ttl.MockTtlTimeProvider;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files of a restored checkpoint say when their values were used last: they go when all has expired, by the time to live that the job has now. */
class RestoredFilesExpireTest {
    private static final int KEYS = 20_000;
    private static final long MEMORY_BYTES = 1 << 20;
    private static final long TTL_MS = 1_000;
    private static final int CHECKPOINTS_MAX = 500;

    @TempDir Path folder;

    private final MockTtlTimeProvider clock = new MockTtlTimeProvider();
    private final ExecutorService executor = Executors.newFixedThreadPool(2);
    private Subject<Long> subject;
    private long checkpoints;

    @BeforeEach
    void fill() throws Exception {
        subject =
                new Subject<>(
                        "slimbase-files",
                        SuiteBackends.slimBase(NativeMode.AUTO),
                        LongSerializer.INSTANCE,
                        clock,
                        Files.createDirectories(folder.resolve("checkpoints")),
                        MEMORY_BYTES);
        subject.start(1, List.of());
        for (long key = 0; key < KEYS; key++) {
            state(key, TTL_MS).update(text(key));
        }
    }

    @AfterEach
    void stop() throws Exception {
        subject.stop();
        executor.shutdownNow();
    }

    private static String text(long key) {
        return Long.toString(key * 0x9E3779B97F4A7C15L, 36).repeat(12);
    }

    private ValueState<String> state(long key, long ttlMs) throws Exception {
        ValueStateDescriptor<String> descriptor = new ValueStateDescriptor<>("s", StringSerializer.INSTANCE);
        descriptor.enableTimeToLive(StateTtlConfig.newBuilder(Duration.ofMillis(ttlMs)).build());
        return States.get(subject.at(key).backend, descriptor, 0, "");
    }

    private Subject.Snapshot checkpoint() throws Exception {
        Subject.Snapshot snapshot =
                subject.checkpoint(++checkpoints, CheckpointOptions.forCheckpointWithDefaultLocation(), executor);
        snapshot.handles();
        subject.confirm(checkpoints);
        return snapshot;
    }

    /** Takes checkpoints until so few files are left: those that are being merged stay until they are. */
    private void awaitFiles(int left) throws Exception {
        for (int i = 0; i < CHECKPOINTS_MAX && sum("fileCount") > left; i++) {
            LockSupport.parkNanos(20_000_000);
            checkpoint();
        }
        assertThat(sum("fileCount")).isLessThanOrEqualTo(left);
    }

    private long sum(String gauge) {
        return subject.subtasks().stream().mapToLong(subtask -> subtask.gauges.number(gauge)).sum();
    }

    /** They are read as files, here by two subtasks, and are given up at the first barrier after their time. */
    @Test
    void restoredFilesGo() throws Exception {
        subject.start(2, new ArrayList<>(checkpoint().handles()));
        assertThat(sum("fileCount")).isGreaterThan(2);
        for (long key = 0; key < KEYS; key += 97) {
            assertThat(state(key, TTL_MS).value()).isEqualTo(text(key));
        }
        clock.time += TTL_MS - 1;
        checkpoint();
        assertThat(sum("expiredFiles")).isZero();
        clock.time++;
        awaitFiles(0);
        assertThat(sum("expiredFiles")).isPositive();
        assertThat(sum("fileBytes")).isZero();
    }

    /** A small map is wanted as long as the entry that was used last; what an older version of it had does not come back. */
    @Test
    void mapsGoWithTheirLatestEntry() throws Exception {
        for (long key = 0; key < KEYS; key++) {
            map(key).put(1L, text(key));
        }
        clock.time += TTL_MS / 2;
        for (long key = 0; key < KEYS; key += 2) {
            map(key).put(2L, text(key + 1));
        }
        clock.time += TTL_MS / 2;
        checkpoint();
        for (long key = 0; key < KEYS; key++) {
            assertThat(map(key).get(1L)).isNull();
            assertThat(map(key).get(2L)).isEqualTo(key % 2 == 0 ? text(key + 1) : null);
        }
        clock.time += TTL_MS / 2;
        awaitFiles(1);
        assertThat(sum("expiredFiles")).isPositive();
        for (long key = 0; key < KEYS; key++) {
            assertThat(map(key).get(1L)).as("key %s", key).isNull();
            assertThat(map(key).get(2L)).as("key %s", key).isNull();
        }
    }

    private MapState<Long, String> map(long key) throws Exception {
        MapStateDescriptor<Long, String> descriptor = new MapStateDescriptor<>("m", LongSerializer.INSTANCE, StringSerializer.INSTANCE);
        descriptor.enableTimeToLive(StateTtlConfig.newBuilder(Duration.ofMillis(TTL_MS)).build());
        return States.get(subject.at(key).backend, descriptor, 0, "");
    }

    /** The job keeps its state longer than before. It says so some time after the restore; until then nothing goes. */
    @Test
    void timeToLiveWasLengthened() throws Exception {
        subject.start(2, new ArrayList<>(checkpoint().handles()));
        clock.time += 2 * TTL_MS;
        checkpoint();
        subject.start(1, new ArrayList<>(checkpoint().handles()));
        checkpoint();
        for (long key = 0; key < KEYS; key++) {
            assertThat(state(key, 10 * TTL_MS).value()).as("key %s", key).isEqualTo(text(key));
        }
    }
}
