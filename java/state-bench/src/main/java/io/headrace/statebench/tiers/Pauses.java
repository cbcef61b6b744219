package io.headrace.statebench.tiers;

import java.util.Map;

/** Wall times of single operations, by powers of two: enough for percentiles within a factor of two, and for the longest. */
final class Pauses {

    private static final int BUCKETS = 64;

    private final long[] histogram = new long[BUCKETS];
    private long longestNs;
    private long count;

    void add(long ns) {
        histogram[64 - Long.numberOfLeadingZeros(ns | 1)]++;
        longestNs = Math.max(longestNs, ns);
        count++;
    }

    /** Adds `p99_below_ns`, `p9999_below_ns` and `longest_ms`. */
    void into(Map<String, Object> figures) {
        figures.put("p50_below_ns", percentile(0.5));
        figures.put("p99_below_ns", percentile(0.99));
        figures.put("p9999_below_ns", percentile(0.9999));
        figures.put("longest_ms", longestNs / 1e6);
    }

    private long percentile(double share) {
        long seen = 0;
        for (int i = 0; i < BUCKETS - 1; i++) {
            seen += histogram[i];
            if (seen >= share * count) {
                return 1L << i;
            }
        }
        return Long.MAX_VALUE;
    }
}
