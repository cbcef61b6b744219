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
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;

/**
 * One fork of the tiers' bench: one backend with one amount of data, whatever its memory; prints one JSON object a phase, so that those before a failure are there.
 *
 * <p>`--records N --value-bytes 100 --warm-ms N --phase-ms N [--checkpoint-ms N] --memory-stat PATH --folder PATH --managed-bytes N --conf KEY=VALUE ...`. Steps:
 * load in scrambled order; then each phase for a time: warm up, measure, wait for background work. Bytes on the disk count with what came in that wait; time does
 * not. With `--checkpoint-ms` the two writing phases run once more with checkpoints. Who runs it limits the memory of this process and its page cache.
 */
public final class Tiers implements AutoCloseable {

    private static final long SEED = 42;
    private static final int CHUNK = 64;
    /** Each so many reads the whole value is compared, not just whose it is. */
    private static final int CHECK_EVERY = 1_024;

    private final Arguments arguments;
    private final long n;
    private final int valueBytes;
    private final Report report;
    private final BackendUnderTest<Long> backend;
    private final ValueState<byte[]> state;
    private final ExecutorService background = Executors.newSingleThreadExecutor(Tiers::daemon);
    private int version;
    private long reads;

    private interface Op {
        void apply(long key) throws Exception;
    }

    private Tiers(Arguments arguments) throws Exception {
        this.arguments = arguments;
        n = arguments.number("records", 1_000_000);
        valueBytes = (int) arguments.number("value-bytes", 100);
        report = new Report(arguments);
        backend = BackendUnderTest.open(arguments, LongSerializer.INSTANCE);
        state = backend.state(new ValueStateDescriptor<>("value", BytePrimitiveArraySerializer.INSTANCE));
    }

    private static Thread daemon(Runnable work) {
        Thread thread = new Thread(work, "asynchronous-part");
        thread.setDaemon(true);
        return thread;
    }

    /** Measures as told. */
    public static void main(String[] words) throws Exception {
        Arguments arguments = new Arguments(words);
        Report.exitAfter(arguments, () -> {
            try (Tiers tiers = new Tiers(arguments)) {
                tiers.measure();
            }
        });
    }

    private void measure() throws Exception {
        report.phase("load", this::load);
        KeyStream zipf = KeyStream.zipf(n, SEED);
        KeyStream uniform = KeyStream.uniform(n, SEED);
        report.phase("zipf_rmw", () -> timed(zipf, this::readModifyWrite, true, null));
        report.phase("zipf_get", () -> timed(zipf, this::get, false, null));
        report.phase("uniform_get", () -> timed(uniform, this::get, false, null));
        report.phase("uniform_put", () -> timed(uniform, this::put, true, null));
        if (arguments.number("checkpoint-ms", 0) > 0) {
            SnapshotTimer timer = new SnapshotTimer(backend.keyed(), new File(arguments.required("folder"), "checkpoints"));
            report.phase("checkpoint_full", timer::checkpoint);
            report.phase("zipf_rmw_checkpointed", () -> timed(zipf, this::readModifyWrite, true, timer));
            report.phase("uniform_put_checkpointed", () -> timed(uniform, this::put, true, timer));
        }
    }

    private Map<String, Object> load() throws Exception {
        Use before = Use.now();
        Pauses pauses = new Pauses();
        long at = System.nanoTime();
        for (long i = 0; i < n; i++) {
            report.at(i);
            put(KeyStream.loadOrder(i, n));
            long now = System.nanoTime();
            pauses.add(now - at);
            at = now;
        }
        return finished(before, n, true, pauses);
    }

    private Map<String, Object> timed(KeyStream keys, Op op, boolean writes, SnapshotTimer timer) throws Exception {
        run(keys, op, arguments.number("warm-ms", 5_000), new Pauses(), null);
        backend.settle();
        Pauses pauses = new Pauses();
        Checkpoints checkpoints = timer == null ? null : new Checkpoints(timer, arguments.number("checkpoint-ms", 0) * 1_000_000);
        Use before = Use.now();
        long operations = run(keys, op, arguments.number("phase-ms", 8_000), pauses, checkpoints);
        Map<String, Object> figures = finished(before, operations, writes, pauses);
        if (checkpoints != null) {
            figures.put("checkpoints", checkpoints.finish());
        }
        return figures;
    }

    private long run(KeyStream keys, Op op, long ms, Pauses pauses, Checkpoints checkpoints) throws Exception {
        long begin = System.nanoTime();
        long end = begin + ms * 1_000_000;
        long done = 0;
        long at = begin;
        while (at < end) {
            for (int i = 0; i < CHUNK; i++) {
                op.apply(keys.next());
                long now = System.nanoTime();
                pauses.add(now - at);
                at = now;
            }
            done += CHUNK;
            if (checkpoints != null) {
                checkpoints.step(at);
                at = System.nanoTime();
            }
        }
        return done;
    }

    /** Times up to now, bytes up to when the backend's own work is done. */
    private Map<String, Object> finished(Use before, long operations, boolean writes, Pauses pauses) throws Exception {
        Map<String, Object> figures = Use.now().since(before, operations);
        backend.settle();
        Map<String, Object> settled = Use.now().since(before, operations);
        figures.put("settled_s", settled.get("wall_s"));
        figures.put("read_bytes", settled.get("read_bytes"));
        figures.put("written_bytes", settled.get("written_bytes"));
        figures.put("process_cpu_ns", settled.get("process_cpu_ns"));
        if (writes) {
            figures.put("changed_bytes", operations * (Long.BYTES + valueBytes));
        }
        pauses.into(figures);
        return figures;
    }

    private void put(long key) throws Exception {
        backend.keyed().setCurrentKey(key);
        state.update(Values.make(key, version++, valueBytes));
    }

    private void get(long key) throws Exception {
        backend.keyed().setCurrentKey(key);
        check(key, state.value());
    }

    private void readModifyWrite(long key) throws Exception {
        backend.keyed().setCurrentKey(key);
        byte[] value = state.value();
        check(key, value);
        state.update(Values.make(key, Values.version(value) + 1, valueBytes));
    }

    private void check(long key, byte[] value) {
        if (++reads % CHECK_EVERY == 0) {
            Values.check(key, value, valueBytes);
        } else {
            Values.checkOwner(key, value);
        }
    }

    /** Checkpoints at an interval beside the operations, one at a time, as a job has them. */
    private final class Checkpoints {
        private final SnapshotTimer timer;
        private final long everyNs;
        private final List<Object> taken = new ArrayList<>();
        private SnapshotTimer.Begun running;
        private long next;

        Checkpoints(SnapshotTimer timer, long everyNs) {
            this.timer = timer;
            this.everyNs = everyNs;
            this.next = System.nanoTime() + everyNs / 2;
        }

        void step(long now) throws Exception {
            if (running != null && running.isRun()) {
                taken.add(timer.confirm(running));
                running = null;
            }
            if (running == null && now >= next) {
                next = now + everyNs;
                running = timer.begin();
                background.execute(running::run);
            }
        }

        List<Object> finish() throws Exception {
            while (running != null) {
                step(0);
                Thread.onSpinWait();
            }
            return taken;
        }
    }

    @Override
    public void close() throws Exception {
        backend.close();
    }
}
