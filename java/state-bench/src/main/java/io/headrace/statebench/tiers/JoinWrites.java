package io.headrace.statebench.tiers;

import io.headrace.statebench.Arguments;
import io.headrace.statebench.BackendUnderTest;
import io.headrace.statebench.micro.KeyStream;
import java.lang.reflect.Method;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;

/**
 * What one side of an interval join does to its state, to see what is written for it; prints one JSON object a phase.
 *
 * <p>`--keys N --live-rows N --rows N --value-bytes 100 --read-every N --range-rows N` and what {@link Tiers} takes. A row of a random key arrives and is put under its
 * time; the row that has left the window is removed; each `--read-every`-th row reads the key's rows of the last part of the window: by range where the
 * backend's map state offers it, else the whole map, as Flink's join does. Times count up by one a row. First the window is filled, then `--rows` more come.
 */
public final class JoinWrites implements AutoCloseable {

    private static final long SEED = 42;
    /** A read looks at this part of the window. */
    private static final int READ_SHARE = 8;

    private final Arguments arguments;
    private final long keys;
    private final long live;
    private final int valueBytes;
    private final Report report;
    private final BackendUnderTest<Long> backend;
    private final MapState<Long, byte[]> rows;
    /** Of SlimBase's `OrderedMapState`; null elsewhere. */
    private final Method range;

    private JoinWrites(Arguments arguments) throws Exception {
        this.arguments = arguments;
        keys = arguments.number("keys", 100_000);
        live = arguments.number("live-rows", 1_000_000);
        valueBytes = (int) arguments.number("value-bytes", 100);
        report = new Report(arguments);
        backend = BackendUnderTest.open(arguments, LongSerializer.INSTANCE);
        rows = backend.state(
                new MapStateDescriptor<>("rows", LongSerializer.INSTANCE, BytePrimitiveArraySerializer.INSTANCE));
        range = rangeOf(rows.getClass());
    }

    private static Method rangeOf(Class<?> type) throws NoSuchMethodException {
        for (Class<?> at = type; at != null; at = at.getSuperclass()) {
            for (Class<?> face : at.getInterfaces()) {
                if (face.getSimpleName().equals("OrderedMapState")) {
                    return face.getMethod("range", Object.class, Object.class);
                }
            }
        }
        return null;
    }

    /** Measures as told. */
    public static void main(String[] words) throws Exception {
        Arguments arguments = new Arguments(words);
        Report.exitAfter(arguments, () -> {
            try (JoinWrites join = new JoinWrites(arguments)) {
                join.report.phase("fill", () -> join.run(0, join.live));
                join.report.phase("window", () -> join.run(join.live, join.live + arguments.number("rows", 1_000_000)));
            }
        });
    }

    private Map<String, Object> run(long from, long to) throws Exception {
        long readEvery = arguments.number("read-every", 16);
        long read = 0;
        long decoded = 0;
        Use before = Use.now();
        Pauses pauses = new Pauses();
        long at = System.nanoTime();
        for (long time = from; time < to; time++) {
            report.at(time);
            backend.keyed().setCurrentKey(key(time));
            rows.put(time, Values.make(key(time), (int) time, valueBytes));
            if (time % readEvery == 0) {
                decoded += read(time);
                read++;
            }
            if (time >= live) {
                backend.keyed().setCurrentKey(key(time - live));
                rows.remove(time - live);
            }
            long now = System.nanoTime();
            pauses.add(now - at);
            at = now;
        }
        Map<String, Object> figures = new LinkedHashMap<>(Use.now().since(before, to - from));
        backend.settle();
        Map<String, Object> settled = Use.now().since(before, to - from);
        figures.put("settled_s", settled.get("wall_s"));
        figures.put("read_bytes", settled.get("read_bytes"));
        figures.put("written_bytes", settled.get("written_bytes"));
        figures.put("changed_bytes", (to - from) * (2 * Long.BYTES + valueBytes));
        figures.put("reads", read);
        figures.put("rows_decoded", decoded);
        figures.put("by_range", range != null);
        pauses.into(figures);
        return figures;
    }

    private long key(long time) {
        return Long.remainderUnsigned(KeyStream.mix(time + SEED), keys);
    }

    private long read(long time) throws Exception {
        long key = key(time);
        long from = time - live / READ_SHARE;
        long decoded = 0;
        boolean found = false;
        for (Map.Entry<Long, byte[]> row : entries(from, time + 1)) {
            Values.checkOwner(key, row.getValue());
            decoded++;
            found |= row.getKey() == time;
        }
        if (!found) {
            throw new AssertionError("the row just put was not read, time=" + time);
        }
        return decoded;
    }

    @SuppressWarnings("unchecked")
    private Iterable<Map.Entry<Long, byte[]>> entries(long from, long to) throws Exception {
        return range == null
                ? rows.entries()
                : (Iterable<Map.Entry<Long, byte[]>>) range.invoke(rows, Math.max(0, from), to);
    }

    @Override
    public void close() throws Exception {
        backend.close();
    }
}
