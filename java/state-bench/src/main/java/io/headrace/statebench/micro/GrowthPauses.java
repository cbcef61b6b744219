package io.headrace.statebench.micro;

import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Longest single operation while a Long state grows from nothing to n records.
 *
 * <p>Wall time of each update goes into a histogram by powers of two; its thread's CPU time is taken too (which costs some 0.3 us an update), because on a
 * machine that others use wall time tells of them. A slow one counts apart when the collector ran
 * meanwhile: the harness's own boxed Longs cause those, on any backend.
 */
final class GrowthPauses {

    private static final int BUCKETS = 40;
    private static final long SLOW_NS = 1_000_000;
    private static final int SLOW_KEPT = 100;
    /** No pause may be longer than this at 50 M records. */
    private static final long PAUSE_NS = 5_000_000;

    private final long[] histogram = new long[BUCKETS];
    private final ThreadMXBean threads = ManagementFactory.getThreadMXBean();
    private long longestCpuNs;
    private long pausesWall;
    private long pausesCpu;
    private long longestNs;
    private long longestCollectedNs;
    private long slow;
    private long slowCollected;
    private long collections = collections();
    /** The first ones over {@link #SLOW_NS}: at which record, so that they can be told apart. */
    private final List<Object> slowOnes = new ArrayList<>();

    Map<String, Object> measure(LongCase state, long n) throws Exception {
        long before = System.nanoTime();
        long cpuBefore = threads.getCurrentThreadCpuTime();
        for (long i = 0; i < n; i++) {
            state.update(KeyStream.loadOrder(i, n));
            long now = System.nanoTime();
            long cpu = threads.getCurrentThreadCpuTime();
            add(i, now - before, cpu - cpuBefore);
            cpuBefore = now - before > SLOW_NS ? threads.getCurrentThreadCpuTime() : cpu;
            before = System.nanoTime();
        }
        return summary(n);
    }

    private void add(long record, long ns, long cpuNs) {
        longestCpuNs = Math.max(longestCpuNs, cpuNs);
        pausesCpu += cpuNs > PAUSE_NS ? 1 : 0;
        pausesWall += ns > PAUSE_NS ? 1 : 0;
        histogram[64 - Long.numberOfLeadingZeros(ns | 1)]++;
        if (ns <= SLOW_NS) {
            return;
        }
        long collectionsNow = collections();
        if (slowOnes.size() < SLOW_KEPT) {
            slowOnes.add(describe(record, ns, cpuNs, collectionsNow != collections));
        }
        if (collectionsNow != collections) {
            collections = collectionsNow;
            slowCollected++;
            longestCollectedNs = Math.max(longestCollectedNs, ns);
        } else {
            slow++;
            longestNs = Math.max(longestNs, ns);
        }
    }

    private static Map<String, Object> describe(long record, long ns, long cpuNs, boolean collected) {
        Map<String, Object> one = new LinkedHashMap<>();
        one.put("record", record);
        one.put("wall_ms", ns / 1e6);
        one.put("cpu_ms", cpuNs / 1e6);
        one.put("collected", collected);
        return one;
    }

    private Map<String, Object> summary(long n) {
        Map<String, Object> buckets = new LinkedHashMap<>();
        for (int i = 0; i < BUCKETS; i++) {
            if (histogram[i] > 0) {
                buckets.put(Long.toString(1L << i), histogram[i]);
            }
        }
        Map<String, Object> summary = new LinkedHashMap<>();
        summary.put("records", n);
        summary.put("longest_ms", longestNs / 1e6);
        summary.put("slow_over_1ms", slow);
        summary.put("wall_over_5ms", pausesWall);
        summary.put("cpu_over_5ms", pausesCpu);
        summary.put("longest_cpu_ms", longestCpuNs / 1e6);
        summary.put("longest_with_collection_ms", longestCollectedNs / 1e6);
        summary.put("slow_with_collection", slowCollected);
        summary.put("slow", slowOnes);
        summary.put("histogram_below_ns", buckets);
        return summary;
    }

    private static long collections() {
        long sum = 0;
        for (GarbageCollectorMXBean collector : ManagementFactory.getGarbageCollectorMXBeans()) {
            sum += collector.getCollectionCount();
        }
        return sum;
    }
}
