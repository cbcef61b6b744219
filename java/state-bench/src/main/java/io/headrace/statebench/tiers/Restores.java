package io.headrace.statebench.tiers;

import io.headrace.statebench.Arguments;
import io.headrace.statebench.BackendUnderTest;
import io.headrace.statebench.checkpoint.SnapshotTimer;
import io.headrace.statebench.micro.KeyStream;
import java.io.File;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyedStateHandle;

/**
 * Checkpoints of a large state, and how long restored subtasks take to their first record and to full speed; prints one JSON object a phase.
 *
 * <p>`--records N --before N --after N --changed N --watch-ms N` and what {@link Tiers} takes. Each of the `--before` subtasks is loaded with its key groups, takes a full
 * checkpoint and one after `--changed` records more, and is given up: one after the other, since one slot's memory is what there is. Then each of the `--after`
 * subtasks is made from all checkpoints with key groups of it. Time to the first record is from the begin of that until one record was read and
 * written; then operations on random keys are counted for `--watch-ms`, in windows.
 */
public final class Restores {

    private static final long SEED = 42;
    private static final long WINDOW_NS = 250_000_000;
    private static final int CHECK_EVERY = 1_024;

    private final Arguments arguments;
    private final long n;
    private final int valueBytes;
    private final int before;
    private final int after;
    private final Report report;
    private final List<KeyedStateHandle> checkpoints = new ArrayList<>();

    private Restores(Arguments arguments) {
        this.arguments = arguments;
        n = arguments.number("records", 1_000_000);
        valueBytes = (int) arguments.number("value-bytes", 100);
        before = (int) arguments.number("before", 1);
        after = (int) arguments.number("after", 1);
        report = new Report(arguments);
    }

    /** Measures as told. */
    public static void main(String[] words) throws Exception {
        Arguments arguments = new Arguments(words);
        Report.exitAfter(arguments, new Restores(arguments)::run);
    }

    private void run() throws Exception {
        for (int subtask = 0; subtask < before; subtask++) {
            write(subtask);
        }
        for (int subtask = 0; subtask < after; subtask++) {
            int one = subtask;
            report.phase("restore_" + subtask, () -> restore(one));
        }
    }

    private static KeyGroupRange range(int subtasks, int subtask) {
        return KeyGroupRangeAssignment.computeKeyGroupRangeForOperatorIndex(BackendUnderTest.KEY_GROUPS, subtasks, subtask);
    }

    private static boolean isIn(KeyGroupRange range, long key) {
        return range.contains(KeyGroupRangeAssignment.assignToKeyGroup(key, BackendUnderTest.KEY_GROUPS));
    }

    private static ValueState<byte[]> state(BackendUnderTest<Long> backend) throws Exception {
        return backend.state(new ValueStateDescriptor<>("value", BytePrimitiveArraySerializer.INSTANCE));
    }

    private void write(int subtask) throws Exception {
        KeyGroupRange range = range(before, subtask);
        try (BackendUnderTest<Long> backend = BackendUnderTest.open(arguments, LongSerializer.INSTANCE, range, List.of())) {
            ValueState<byte[]> state = state(backend);
            report.phase("load_" + subtask, () -> put(backend, state, range, 0, n));
            File folder = new File(arguments.required("folder"), "checkpoints-" + subtask);
            SnapshotTimer timer = new SnapshotTimer(backend.keyed(), folder);
            report.phase("full_" + subtask, timer::checkpoint);
            put(backend, state, range, n - arguments.number("changed", n / 100), n);
            report.phase("incremental_" + subtask, timer::checkpoint);
            checkpoints.add(timer.newest());
        }
    }

    private Map<String, Object> put(BackendUnderTest<Long> backend, ValueState<byte[]> state, KeyGroupRange range, long from, long to)
            throws Exception {
        Use start = Use.now();
        long done = 0;
        for (long i = from; i < to; i++) {
            long key = KeyStream.loadOrder(i, n);
            if (isIn(range, key)) {
                report.at(done++);
                backend.keyed().setCurrentKey(key);
                state.update(Values.make(key, 1, valueBytes));
            }
        }
        backend.settle();
        return Use.now().since(start, done);
    }

    private Map<String, Object> restore(int subtask) throws Exception {
        KeyGroupRange range = range(after, subtask);
        List<KeyedStateHandle> handles = new ArrayList<>();
        for (KeyedStateHandle checkpoint : checkpoints) {
            KeyedStateHandle part = checkpoint.getIntersection(range);
            if (part != null) {
                handles.add(part);
            }
        }
        KeyStream keys = KeyStream.uniform(n, SEED + subtask);
        Use start = Use.now();
        try (BackendUnderTest<Long> backend = BackendUnderTest.open(arguments, LongSerializer.INSTANCE, range, handles)) {
            ValueState<byte[]> state = state(backend);
            readModifyWrite(backend, state, next(keys, range), true);
            Map<String, Object> figures = new LinkedHashMap<>(Use.now().since(start, 1));
            figures.put("first_record_ms", (double) figures.remove("wall_ns") / 1e6);
            figures.put("windows_ms", WINDOW_NS / 1_000_000);
            figures.put("windows", watch(backend, state, keys, range));
            return figures;
        }
    }

    private static long next(KeyStream keys, KeyGroupRange range) {
        long key = keys.next();
        while (!isIn(range, key)) {
            key = keys.next();
        }
        return key;
    }

    /** Operations in each window from now on. */
    private List<Object> watch(BackendUnderTest<Long> backend, ValueState<byte[]> state, KeyStream keys, KeyGroupRange range)
            throws Exception {
        List<Object> windows = new ArrayList<>();
        long begin = System.nanoTime();
        long end = begin + arguments.number("watch-ms", 10_000) * 1_000_000;
        long windowEnd = begin + WINDOW_NS;
        long done = 0;
        for (long i = 0; windowEnd <= end; i++) {
            readModifyWrite(backend, state, next(keys, range), i % CHECK_EVERY == 0);
            done++;
            long now = System.nanoTime();
            while (now >= windowEnd) {
                windows.add(done);
                done = 0;
                windowEnd += WINDOW_NS;
            }
        }
        return windows;
    }

    private void readModifyWrite(BackendUnderTest<Long> backend, ValueState<byte[]> state, long key, boolean whole) throws Exception {
        backend.keyed().setCurrentKey(key);
        byte[] value = state.value();
        if (whole) {
            Values.check(key, value, valueBytes);
        } else {
            Values.checkOwner(key, value);
        }
        state.update(Values.make(key, Values.version(value) + 1, valueBytes));
    }
}
