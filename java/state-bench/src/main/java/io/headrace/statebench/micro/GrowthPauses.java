package io.headrace.statebench.micro;

import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Longest single operation while a Long state grows from nothing to n records.
 *
 * <p>Wall time of each update goes into a histogram by powers of two. A slow one counts apart when the collector ran
 * meanwhile: the harness's own boxed Longs cause those, on any backend.
 */
final class GrowthPauses {

    private static final int BUCKETS = 40;
    private static final long SLOW_NS = 1_000_000;

    private final long[] histogram = new long[BUCKETS];
    private long longestNs;
    private long longestCollectedNs;
    private long slow;
    private long slowCollected;
    private long collections = collections();

    Map<String, Object> measure(LongCase state, long n) throws Exception {
        long before = System.nanoTime();
        for (long i = 0; i < n; i++) {
            state.update(KeyStream.loadOrder(i, n));
            long now = System.nanoTime();
            add(now - before);
            before = now - before > SLOW_NS ? System.nanoTime() : now;
        }
        return summary(n);
    }

    private void add(long ns) {
        histogram[64 - Long.numberOfLeadingZeros(ns | 1)]++;
        if (ns <= SLOW_NS) {
            return;
        }
        long collectionsNow = collections();
        if (collectionsNow != collections) {
            collections = collectionsNow;
            slowCollected++;
            longestCollectedNs = Math.max(longestCollectedNs, ns);
        } else {
            slow++;
            longestNs = Math.max(longestNs, ns);
        }
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
        summary.put("longest_with_collection_ms", longestCollectedNs / 1e6);
        summary.put("slow_with_collection", slowCollected);
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
