package io.headrace.statebench.checkpoint;

import com.sun.management.OperatingSystemMXBean;
import io.headrace.statebench.Arguments;
import io.headrace.statebench.BackendUnderTest;
import io.headrace.statebench.Json;
import java.io.File;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
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
 * <p>`--records N --value-bytes 100 --changed-percent 1 --rounds N --restores N --folder PATH --conf ...`. Steps: load N values, wait for
 * background work, one full checkpoint; then rounds of: change 1 % of the keys, checkpoint, confirm, wait for background
 * work, as there is time for it between the checkpoints of a job. Several rounds, because RocksDB's compaction rewrites (and
 * so uploads again) older files only every few checkpoints. Then the newest checkpoint is restored, some times over: the first one warms
 * the code that reads files. Bytes are counted on disk, not believed; half of each value is random, so that compression has something to do but no miracle.
 */
public final class CheckpointBench {

    private static final long SCRAMBLE = 2_654_435_761L;
    private static final int PERCENT = 100;
    /** Field 15 of proc(5)'s `stat`, counted from the one after the name; in units of USER_HZ, 100 a second on every Linux. */
    private static final int STAT_SYSTEM_TIME = 12;

    private static final long TICK_MS = 10;

    private BackendUnderTest<Long> backend;
    private ValueState<byte[]> state;
    private final long n;
    private final int valueBytes;
    private final SnapshotTimer timer;
    private long changes;

    private CheckpointBench(BackendUnderTest<Long> backend, Arguments arguments) throws Exception {
        use(backend);
        this.n = arguments.number("records", 1_000_000);
        this.valueBytes = (int) arguments.number("value-bytes", 100);
        this.timer = new SnapshotTimer(backend.keyed(), new File(arguments.required("folder"), "checkpoints"));
    }

    private void use(BackendUnderTest<Long> opened) throws Exception {
        backend = opened;
        state = opened.state(new ValueStateDescriptor<>("value", BytePrimitiveArraySerializer.INSTANCE));
    }

    /** Measures as told and prints the result. */
    public static void main(String[] words) throws Exception {
        Arguments arguments = new Arguments(words);
        CheckpointBench bench = new CheckpointBench(BackendUnderTest.open(arguments, LongSerializer.INSTANCE), arguments);
        System.out.println(Json.render(bench.measure(arguments)));
        System.out.flush();
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
        List<Object> restores = new ArrayList<>();
        for (long restore = 0; restore < arguments.number("restores", 3); restore++) {
            restores.add(restore());
            check();
        }
        result.put("restores", restores);
        return result;
    }

    /** Builds a backend anew from the newest checkpoint, until its state can be read. */
    private Map<String, Object> restore() throws Exception {
        OperatingSystemMXBean process = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        long cpu = process.getProcessCpuTime();
        long system = systemTicks();
        long begin = System.nanoTime();
        use(backend.restored(timer.newest()));
        Map<String, Object> figures = new LinkedHashMap<>();
        figures.put("restore_ms", (System.nanoTime() - begin) / 1e6);
        figures.put("cpu_ms", (process.getProcessCpuTime() - cpu) / 1e6);
        figures.put("system_ms", (systemTicks() - system) * TICK_MS);
        return figures;
    }

    /** The kernel's share of this process's CPU time: above all, finding and zeroing pages. */
    private static long systemTicks() throws IOException {
        String stat = Files.readString(Path.of("/proc/self/stat"));
        return Long.parseLong(stat.substring(stat.lastIndexOf(')') + 2).split(" ")[STAT_SYSTEM_TIME]);
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
