package io.headrace.statebench.join;

import io.headrace.statebench.Arguments;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.concurrent.CountDownLatch;

/** What the parts of the job and the bench tell each other; all run in this process, the operator in one thread. */
final class Probes {
    private static final CountDownLatch ROWS_THERE = new CountDownLatch(1);
    private static final CountDownLatch DONE = new CountDownLatch(1);
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    private static final long MIX = 0x9E3779B97F4A7C15L;

    /** Of the fastest join in a minute. */
    private static final int PROBES_MAX = 1_000_000;

    private static long rows;
    private static int checked;
    private static long warmNs;
    private static long measureNs;
    private static int probesMin;
    private static long[] tookNs;

    private static long buffered;
    private static long bufferNs;
    private static long seen;
    private static long warmUntil;
    private static long measuredFrom;
    private static int measured;
    private static boolean done;
    private static long cpuBefore;
    private static long joined;
    private static long check;
    private static Result result;

    private Probes() {}

    static void plan(Arguments arguments) {
        rows = arguments.number("rows", 100_000);
        checked = (int) arguments.number("checked", 50);
        warmNs = arguments.number("warm-ms", 5_000) * 1_000_000;
        measureNs = arguments.number("measure-ms", 5_000) * 1_000_000;
        probesMin = (int) arguments.number("probes", 200);
        tookNs = new long[PROBES_MAX];
    }

    /** Waits until the operator has all left rows. */
    static void awaitRows() throws InterruptedException {
        ROWS_THERE.await();
    }

    static Result await() throws InterruptedException {
        DONE.await();
        return result;
    }

    /** A place for the right row from which its whole range lies among the left rows; the same for the same number. */
    static long place(long number, long inRange, long rows) {
        return inRange + new SplittableRandom(number * MIX).nextLong(rows - inRange);
    }

    /** A left row was taken. */
    static void rowTook(long ns) {
        bufferNs += ns;
        if (++buffered == rows) {
            warmUntil = System.nanoTime() + warmNs;
            ROWS_THERE.countDown();
        }
    }

    /** A pair of the right row that is in the operator. */
    static void joined(long pair) {
        joined++;
        if (seen < checked) {
            check += (pair ^ pair >>> 31) * MIX;
        }
    }

    /** A right row was taken: of the first ones, while the compiler works, or one to be measured. */
    static void probeTook(long ns) {
        seen++;
        long now = System.nanoTime();
        if (done) {
            return;
        }
        if (seen <= checked || now < warmUntil) {
            joined = 0;
            measuredFrom = now;
            cpuBefore = THREADS.getCurrentThreadCpuTime();
            return;
        }
        tookNs[measured++] = ns;
        if (measured == PROBES_MAX || measured >= probesMin && now - measuredFrom >= measureNs) {
            done = true;
            result = new Result(Arrays.copyOf(tookNs, measured), seen - measured, joined, THREADS.getCurrentThreadCpuTime() - cpuBefore);
            DONE.countDown();
        }
    }

    /** What was measured. */
    static final class Result {
        private final long[] sorted;
        private final long warm;
        private final long pairs;
        private final long cpuNs;

        private Result(long[] tookNs, long warm, long pairs, long cpuNs) {
            this.sorted = tookNs;
            this.warm = warm;
            this.pairs = pairs;
            this.cpuNs = cpuNs;
            Arrays.sort(sorted);
        }

        double percentileUs(double share) {
            return sorted[(int) Math.max(0, Math.ceil(share * sorted.length) - 1)] / 1e3;
        }

        /** CPU time of the task's thread a right row, with what Flink does around the operator. */
        double meanCpuUs() {
            return cpuNs / 1e3 / sorted.length;
        }

        int count() {
            return sorted.length;
        }

        long warmCount() {
            return warm;
        }

        double rowsPerProbe() {
            return pairs / (double) sorted.length;
        }

        double bufferRowUs() {
            return bufferNs / 1e3 / rows;
        }

        long check() {
            return check;
        }
    }
}
