package io.headrace.slimbase.engine;

import java.util.ArrayList;
import java.util.List;

/**
 * Which neighbouring runs to merge: size-tiered, and by what a merge would free. Pure.
 *
 * <p>Going from the newest file to older ones, runs are gathered as long as the next is not much larger than what was gathered; {@link #FANOUT} of
 * a size make a merge. So a record is written about once for each power of the fan-out that lies between a segment and the whole, and lookups ask
 * some filters for each.
 *
 * <p>When {@link #DEAD_SHARE} of what is alive is dead, the merge is due that frees most of it for what it costs. It may be of one run only: newer runs
 * are then read as witnesses of what is dead in it, and stay. Where state comes and goes in order, that is an old run of which nothing is left, and
 * nothing is written at all. A run of which next to nothing is left goes so as soon as that is known, or a merge by size would write all that lives beside it.
 *
 * <p>What is dead has a filter and an index in memory as what is alive has. Where indexes of all files would come to take more than they should, less may be dead:
 * then more is written instead.
 *
 * <p>What is dead is an estimate, by run that has it and by newer run that has what took its place.
 */
final class MergePolicy {
    /** Runs to merge, from inclusive, to exclusive, and newer ones to look into. */
    static final class Choice {
        final int from;
        final int to;
        final List<Integer> witnesses;

        Choice(int from, int to, List<Integer> witnesses) {
            this.from = from;
            this.to = to;
            this.witnesses = witnesses;
        }
    }

    static final int FANOUT = 12;
    /** A run joins a merge when it is at most so many times the mean of the gathered ones. */
    private static final double ALIKE = 2.0;
    /** Dead bytes for each live one from which on they are freed for their own sake: files take at most three quarters more as what is alive, and what a merge has in the making. */
    static final double DEAD_SHARE = 0.75;
    /** However short memory is: below, each merge would free so little that all the disk did was merging. */
    static final double DEAD_SHARE_LEAST = 0.15;
    /** A merge for the sake of space frees at least so much of what is dead: better one large merge than many that each read the same runs again. */
    private static final double WORTHWHILE = 0.25;
    /** A run of which so much is dead goes at once. */
    private static final double NEARLY_ALL = 0.9;
    /** What reading a byte costs beside writing it, which is uploaded again, too. */
    private static final double READ_COST = 0.2;
    /** With more runs all ranges are too many to look at; then merging is far behind, and by size alone it merges most at once. */
    private static final int RUNS_LIMIT = 64;

    /** What is known of a tier's runs, oldest first; bytes. */
    static final class Figures {
        final long[] sizes;
        /** In memory. */
        final long[] indexes;
        /** Freed by a merge that has the oldest run. */
        final long[] tombstones;
        /** Of each run what is dead because of what a newer one has: row of the older, column of the newer. */
        final long[][] dead;

        Figures(int runs) {
            sizes = new long[runs];
            indexes = new long[runs];
            tombstones = new long[runs];
            dead = new long[runs][runs];
        }
    }

    private final long[] sizes;
    private final long[] indexes;
    private final long[] tombstones;
    private final long[][] dead;
    private final long indexRoom;

    private MergePolicy(Figures runs, long indexRoom) {
        this.sizes = runs.sizes;
        this.indexes = runs.indexes;
        this.tombstones = runs.tombstones;
        this.dead = runs.dead;
        this.indexRoom = indexRoom;
    }

    /**
     * What to merge; null when nothing is due.
     *
     * @param indexRoom what indexes of all files should take in memory at most; bytes
     */
    static Choice choose(Figures runs, long indexRoom) {
        MergePolicy policy = new MergePolicy(runs, indexRoom);
        Choice freeing = runs.sizes.length > RUNS_LIMIT ? null : policy.freeing();
        return freeing != null ? freeing : policy.bySize();
    }

    private Choice bySize() {
        int to = sizes.length;
        while (to >= FANOUT) {
            int from = to;
            long sum = 0;
            while (from > 0 && (from == to || sizes[from - 1] <= ALIKE * sum / (to - from))) {
                sum += sizes[--from];
            }
            if (to - from >= FANOUT) {
                return new Choice(from, to, List.of());
            }
            to = from == to ? to - 1 : from;
        }
        return null;
    }

    /** The merge that frees most for what it costs, if much is dead. */
    private Choice freeing() {
        long total = sum(sizes, 0, sizes.length);
        long allDead = 0;
        for (int i = 0; i < sizes.length; i++) {
            allDead += Math.min(sizes[i], tombstones[i] + sum(dead[i], i + 1, sizes.length));
        }
        if (allDead <= deadShare(total, allDead) * (total - allDead)) {
            return nearlyDead();
        }
        Choice best = null;
        double bestGain = 0;
        for (int from = 0; from < sizes.length; from++) {
            for (int to = from + 1; to <= sizes.length; to++) {
                List<Integer> witnesses = witnesses(from, to);
                long bytes = sum(sizes, from, to);
                long freed = freed(from, to, witnesses);
                long read = bytes;
                for (int each : witnesses) {
                    read += sizes[each];
                }
                double gain = freed / (bytes - freed + READ_COST * read + 1);
                if (gain > bestGain && freed >= allDead * WORTHWHILE) {
                    best = new Choice(from, to, witnesses);
                    bestGain = gain;
                }
            }
        }
        return best;
    }

    /** Dead bytes for each live one that are left alone. */
    private double deadShare(long total, long allDead) {
        double ofAlive = (double) sum(indexes, 0, indexes.length) * (total - allDead) / Math.max(1, total);
        return Math.max(DEAD_SHARE_LEAST, Math.min(DEAD_SHARE, indexRoom / Math.max(1, ofAlive) - 1));
    }

    /** The oldest run of which next to nothing is left: it would go into a merge of its size with all that lives beside it. */
    private Choice nearlyDead() {
        for (int run = 0; run < sizes.length; run++) {
            List<Integer> witnesses = witnesses(run, run + 1);
            if (freed(run, run + 1, witnesses) > NEARLY_ALL * sizes[run]) {
                return new Choice(run, run + 1, witnesses);
            }
        }
        return null;
    }

    /** Newer runs that are worth being read for what is dead in the range because of them. */
    private List<Integer> witnesses(int from, int to) {
        List<Integer> found = new ArrayList<>();
        for (int newer = to; newer < sizes.length; newer++) {
            if (deadFor(from, to, newer) > sizes[newer] * READ_COST) {
                found.add(newer);
            }
        }
        return found;
    }

    private long freed(int from, int to, List<Integer> witnesses) {
        long freed = 0;
        for (int older = from; older < to; older++) {
            long sum = (from == 0 ? tombstones[older] : 0) + sum(dead[older], older + 1, to);
            for (int each : witnesses) {
                sum += dead[older][each];
            }
            freed += Math.min(sizes[older], sum);
        }
        return freed;
    }

    private long deadFor(int from, int to, int newer) {
        long sum = 0;
        for (int older = from; older < to; older++) {
            sum += dead[older][newer];
        }
        return sum;
    }

    private static long sum(long[] values, int from, int to) {
        long sum = 0;
        for (int i = from; i < to; i++) {
            sum += values[i];
        }
        return sum;
    }
}
