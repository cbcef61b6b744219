package io.headrace.statebench.micro;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Times an operation in slices and takes the median slice: CPU time of this thread (the figure for ratios, since other
 * work on the machine does not enter it), wall time, and CPU time of the whole process (flushes, compaction, collector).
 */
final class Meter {

    private static final int CHUNK = 256;

    private final ThreadMXBean threads = ManagementFactory.getThreadMXBean();
    private final OperatingSystemMXBean process =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private final long sliceNs;
    private final long warmNs;
    private final int slices;
    private long sink;

    Meter(long sliceMs, long warmMs, int slices) {
        this.sliceNs = sliceMs * 1_000_000;
        this.warmNs = warmMs * 1_000_000;
        this.slices = slices;
    }

    /** Runs without timing. */
    void warm(KeyStream keys, Op op) throws Exception {
        run(keys, op, warmNs, Long.MAX_VALUE);
    }

    /** Runs until each slice's time is over. */
    Map<String, Object> timed(KeyStream keys, Op op) throws Exception {
        run(keys, op, warmNs, Long.MAX_VALUE);
        return measured(keys, op, sliceNs, Long.MAX_VALUE);
    }

    /** Runs a fixed number of operations in all: for what changes the size of the state, so that all end at the same. */
    Map<String, Object> counted(KeyStream keys, Op op, long operations) throws Exception {
        long each = Math.max(CHUNK, operations / (slices + 1));
        run(keys, op, Long.MAX_VALUE, each);
        return measured(keys, op, Long.MAX_VALUE, each);
    }

    /** One pass without warm-up, as for a load. */
    Map<String, Object> once(Body body, long operations) throws Exception {
        double[][] figures = new double[3][1];
        long[] before = clocks();
        body.run();
        record(figures, 0, before, operations);
        return summary(figures, operations);
    }

    private Map<String, Object> measured(KeyStream keys, Op op, long ns, long operationsMax) throws Exception {
        double[][] figures = new double[3][slices];
        long total = 0;
        for (int slice = 0; slice < slices; slice++) {
            long[] before = clocks();
            long operations = run(keys, op, ns, operationsMax);
            record(figures, slice, before, operations);
            total += operations;
        }
        return summary(figures, total);
    }

    private long run(KeyStream keys, Op op, long ns, long operationsMax) throws Exception {
        long begin = System.nanoTime();
        long done = 0;
        long seen = 0;
        while (done < operationsMax && System.nanoTime() - begin < ns) {
            for (int i = 0; i < CHUNK; i++) {
                seen += op.apply(keys.next());
            }
            done += CHUNK;
        }
        sink ^= seen;
        return done;
    }

    private long[] clocks() {
        return new long[] {threads.getCurrentThreadCpuTime(), System.nanoTime(), process.getProcessCpuTime()};
    }

    private void record(double[][] figures, int slice, long[] before, long operations) {
        long[] now = clocks();
        for (int i = 0; i < now.length; i++) {
            figures[i][slice] = (now[i] - before[i]) / (double) operations;
        }
    }

    private static Map<String, Object> summary(double[][] figures, long operations) {
        Map<String, Object> summary = new LinkedHashMap<>();
        summary.put("cpu_ns", median(figures[0]));
        summary.put("wall_ns", median(figures[1]));
        summary.put("process_cpu_ns", median(figures[2]));
        summary.put("operations", operations);
        return summary;
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }

    /** Keeps what operations returned alive. */
    long sink() {
        return sink;
    }

    /** Work of one pass. */
    interface Body {
        void run() throws Exception;
    }
}
