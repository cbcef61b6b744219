package io.headrace.slimbase.engine;

/**
 * Which neighbouring runs to merge: size-tiered. Pure.
 *
 * <p>Going from the newest file to older ones, runs are gathered as long as the next is not much larger than what was gathered; {@link #FANOUT} of
 * a size make a merge. So a record is written about once for each power of the fan-out that lies between a segment and the whole, and lookups ask
 * some filters for each.
 */
final class MergePolicy {
    static final int FANOUT = 6;
    /** A run joins a merge when it is at most so many times the mean of the gathered ones. */
    private static final double ALIKE = 2.0;

    private MergePolicy() {}

    /** The range (from inclusive, to exclusive) in `sizes`, bytes, oldest first; null when there is nothing to merge. */
    static int[] choose(long[] sizes) {
        int to = sizes.length;
        while (to >= FANOUT) {
            int from = to;
            long sum = 0;
            while (from > 0 && (from == to || sizes[from - 1] <= ALIKE * sum / (to - from))) {
                sum += sizes[--from];
            }
            if (to - from >= FANOUT) {
                return new int[] {from, to};
            }
            to = from == to ? to - 1 : from;
        }
        return null;
    }
}
