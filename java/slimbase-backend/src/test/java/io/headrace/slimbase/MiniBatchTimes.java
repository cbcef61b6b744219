package io.headrace.slimbase;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.suites.SuiteBackends;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.List;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.streaming.util.KeyedOneInputStreamOperatorTestHarness;
import org.apache.flink.table.data.RowData;

/**
 * Prints what a mini-batch GROUP BY (COUNT, SUM) costs a record, with keys fetched ahead and without, in turns. Not a test: run its main method with the
 * number of keys, the bundle's size and how often a key comes on average in a row of records (1: keys at random).
 */
public final class MiniBatchTimes {
    private static final int ROUNDS = 9;
    private static final int SLICE = 400_000;
    private static final int LOT = 512;
    private static final long GOLDEN = 0x9E3779B97F4A7C15L;

    private final MiniBatch operator;
    private final KeyedOneInputStreamOperatorTestHarness<RowData, RowData, RowData> harness;
    private final long keys;
    private final int repeats;
    private long first;

    private MiniBatchTimes(long keys, int bundle, int repeats) throws Exception {
        this.keys = keys;
        this.repeats = repeats;
        this.operator = new MiniBatch(bundle);
        this.harness = operator.open(SuiteBackends.slimBase(NativeMode.ON, MemorySize.ofMebiBytes(6_000)), null);
    }

    /** Loads, then measures. */
    public static void main(String[] arguments) throws Exception {
        for (String bundle : List.of(arguments[1].split(","))) {
            MiniBatchTimes times =
                    new MiniBatchTimes(Long.parseLong(arguments[0]), Integer.parseInt(bundle), Integer.parseInt(arguments[2]));
            times.load();
            times.measure(Integer.parseInt(bundle));
            times.harness.close();
        }
        System.exit(0);
    }

    private void load() throws Exception {
        for (long i = 0; i < keys; i++) {
            add(i * 2_654_435_761L % keys);
        }
    }

    private void add(long key) throws Exception {
        harness.processElement(operator.record(key, 1));
        if (harness.getOutput().size() > 1_000) {
            harness.getOutput().clear();
        }
    }

    private void measure(int bundle) throws Exception {
        SlimKeyedStateBackend<RowData> backend = MiniBatch.backend(harness);
        double[][] ns = new double[2][ROUNDS];
        for (int round = 0; round < ROUNDS; round++) {
            for (int off = 0; off < 2; off++) {
                backend.keysAhead().setOff(off == 1);
                ns[off][round] = slice();
            }
        }
        double[] ratios = new double[ROUNDS];
        Arrays.setAll(ratios, i -> ns[1][i] / ns[0][i]);
        System.out.printf(
                "keys=%d bundle=%d repeats=%d ahead_ns=%.0f single_ns=%.0f ratio=%.2f%n",
                keys, bundle, repeats, median(ns[0]), median(ns[1]), median(ratios));
    }

    private double slice() throws Exception {
        long begin = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
        for (int i = 0; i < SLICE; i++) {
            // Keys that repeat come mixed: a lot of them, again and again, then the next lot.
            long number = first + (long) (i / (LOT * repeats)) * LOT + i % LOT;
            add(Math.floorMod(mix(number * GOLDEN), keys));
        }
        first += SLICE;
        return (ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - begin) / (double) SLICE;
    }

    private static long mix(long z) {
        long x = (z ^ z >>> 30) * 0xBF58476D1CE4E5B9L;
        x = (x ^ x >>> 27) * 0x94D049BB133111EBL;
        return x ^ x >>> 31;
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }
}
