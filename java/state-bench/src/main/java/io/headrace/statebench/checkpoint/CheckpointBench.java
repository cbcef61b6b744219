package io.headrace.statebench.checkpoint;

import io.headrace.statebench.Arguments;
import io.headrace.statebench.BackendUnderTest;
import io.headrace.statebench.Json;
import java.io.File;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;

/**
 * Incremental checkpoints of a large state of which little changes; prints one JSON object.
 *
 * <p>`--records N --value-bytes 100 --changed-percent 1 --rounds N --folder PATH --conf ...`. Steps: load N values, wait for
 * background work, one full checkpoint; then rounds of: change 1 % of the keys, checkpoint, confirm, wait for background
 * work, as there is time for it between the checkpoints of a job. Several rounds, because RocksDB's compaction rewrites (and
 * so uploads again) older files only every few checkpoints. Bytes are counted on disk, not believed; half of each value is random, so that compression has something to do but no miracle.
 */
public final class CheckpointBench {

    private static final long SCRAMBLE = 2_654_435_761L;
    private static final int PERCENT = 100;

    private final BackendUnderTest<Long> backend;
    private final ValueState<byte[]> state;
    private final long n;
    private final int valueBytes;
    private final SnapshotTimer timer;
    private long changes;

    private CheckpointBench(BackendUnderTest<Long> backend, Arguments arguments) throws Exception {
        this.backend = backend;
        this.state = backend.state(new ValueStateDescriptor<>("value", BytePrimitiveArraySerializer.INSTANCE));
        this.n = arguments.number("records", 1_000_000);
        this.valueBytes = (int) arguments.number("value-bytes", 100);
        this.timer = new SnapshotTimer(backend.keyed(), new File(arguments.required("folder"), "checkpoints"));
    }

    /** Measures as told and prints the result. */
    public static void main(String[] words) throws Exception {
        Arguments arguments = new Arguments(words);
        try (BackendUnderTest<Long> backend = BackendUnderTest.open(arguments, LongSerializer.INSTANCE)) {
            System.out.println(Json.render(new CheckpointBench(backend, arguments).measure(arguments)));
            System.out.flush();
        }
        // Backends leave non-daemon threads behind.
        System.exit(0);
    }

    private Map<String, Object> measure(Arguments arguments) throws Exception {
        for (long i = 0; i < n; i++) {
            update((i * SCRAMBLE) % n);
        }
        backend.settle();
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("records", n);
        result.put("state_bytes", n * (Long.BYTES + valueBytes));
        result.put("full", timer.checkpoint());
        long changed = n * arguments.number("changed-percent", 1) / PERCENT;
        List<Object> rounds = new ArrayList<>();
        for (long round = 0; round < arguments.number("rounds", 8); round++) {
            change(changed, round);
            rounds.add(timer.checkpoint());
            backend.settle();
        }
        result.put("changed_records", changed);
        result.put("incremental", rounds);
        check();
        return result;
    }

    /** Changes a share of the keys spread over the whole range: every 1/share-th, another offset each round. */
    private void change(long changed, long round) throws Exception {
        for (long i = 0; i < changed; i++) {
            long at = (round * changed + i) % n;
            update((at * SCRAMBLE) % n);
        }
    }

    private void update(long key) throws Exception {
        backend.keyed().setCurrentKey(key);
        byte[] value = new byte[valueBytes];
        long bits = ++changes;
        for (int i = 0; i < valueBytes / 2; i++) {
            bits = bits * 6_364_136_223_846_793_005L + 1_442_695_040_888_963_407L;
            value[i] = (byte) (bits >>> 56);
        }
        // The last half tells the key, so that `check` can see that values belong to their keys.
        for (int i = 0; i < Long.BYTES; i++) {
            value[valueBytes - 1 - i] = (byte) (key >>> (8 * i));
        }
        state.update(value);
    }

    private void check() throws Exception {
        for (long key = 0; key < n; key += Math.max(1, n / 1_000)) {
            backend.keyed().setCurrentKey(key);
            byte[] value = state.value();
            if (value == null || value.length != valueBytes || value[valueBytes - 1] != (byte) key) {
                throw new AssertionError("wrong state after checkpoints, key=" + key);
            }
        }
    }
}
