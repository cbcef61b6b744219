package io.headrace.slimbase.engine;

/**
 * How fast merges should go, and how much appends must wait for them, so that neither takes the disk from lookups without need nor files grow many. Task thread;
 * the clock is the caller's.
 *
 * <p>In the long run merges read and write {@link #COST} bytes for each byte that is packed. At that pace, evenly, they get what lookups and packing leave;
 * with more runs than a merge takes it grows with the square of them, and from {@link #HURRY_RUNS} on there is no limit. When even that is not enough, from
 * {@link #SLOW_RUNS} on, an append waits in proportion, a few milliseconds now and then rather than for a whole merge.
 */
final class MergePace {
    /** A packed byte is merged twice (a fan-out of twelve, 144 segments), each time read and written, or is read as a witness. */
    private static final double COST = 6;
    /** What a merge gets while nothing is packed: what is due is done some time. */
    private static final double LEAST_BYTES_PER_S = 16 << 20;

    static final int HURRY_RUNS = 3 * MergePolicy.FANOUT;
    static final int SLOW_RUNS = 4 * MergePolicy.FANOUT;
    /** The packing rate is that of the last half minute, about. */
    private static final double MEMORY_S = 30;

    private static final double NS_PER_S = 1e9;
    /** How fast merges are taken to be as long as none has ended. */
    private static final double FIRST_MERGED_PER_S = 64 << 20;
    /** What waits is collected to this, and then waited for at once: a shorter sleep takes longer than asked for. */
    private static final long LEAST_WAIT_NS = 1_000_000;

    static final long MOST_WAIT_NS = 10_000_000;

    private double packedPerS;
    private long packedAt;
    private double mergedPerS = FIRST_MERGED_PER_S;
    private double owedNs;

    MergePace(long nowNs) {
        packedAt = nowNs;
    }

    /** A segment was packed into a file of so many bytes. */
    void packed(long bytes, long nowNs) {
        double seconds = Math.max(1e-3, (nowNs - packedAt) / NS_PER_S);
        double old = Math.exp(-seconds / MEMORY_S);
        packedPerS = packedPerS * old + bytes / seconds * (1 - old);
        packedAt = nowNs;
    }

    /** A merge has read and written so many bytes. */
    void merged(long bytes, long tookNs) {
        mergedPerS = (mergedPerS + bytes / Math.max(1e-3, tookNs / NS_PER_S)) / 2;
    }

    /** Bytes a second, read and written, that merges should have; infinite when there is no time to lose. */
    double wanted(int runs) {
        if (runs >= HURRY_RUNS) {
            return Double.POSITIVE_INFINITY;
        }
        double over = Math.max(1, (double) runs / MergePolicy.FANOUT);
        return Math.max(LEAST_BYTES_PER_S, packedPerS * COST * over * over);
    }

    /**
     * How long an append of so many bytes must wait now, ns: from where runs are too many on so long that merges, at the speed that they have had, keep up; at
     * twice as many four times that, and so on. 0 nearly always.
     */
    long waitNs(long bytes, int runs) {
        if (runs < SLOW_RUNS) {
            owedNs = 0;
            return 0;
        }
        double over = (double) runs / SLOW_RUNS;
        owedNs += bytes * COST / mergedPerS * NS_PER_S * over * over;
        if (owedNs < LEAST_WAIT_NS) {
            return 0;
        }
        long wait = (long) Math.min(owedNs, MOST_WAIT_NS);
        owedNs -= wait;
        owedNs = Math.min(owedNs, MOST_WAIT_NS);
        return wait;
    }
}
