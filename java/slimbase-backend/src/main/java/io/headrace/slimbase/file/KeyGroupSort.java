package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.KeyHash;
import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import java.util.Arrays;

/**
 * Orders the records of one key group by (state id, AUX, hash, key bytes, order in the log) and drops what is superseded.
 *
 * <p>One long per record holds identity, as many bits of the hash as fit, and the record's place in the log. Hashes are spread evenly, so a bucket
 * for each record brings nearly every one to its place in one pass. Only the few that tie in the upper bits are looked at again: a record
 * somewhere in 64 MiB is a cache miss, and the misses are what packing costs (bench/NOTES.md).
 */
public final class KeyGroupSort {
    private static final int IDENTITY_BITS = 11;
    /** Below, the library's sort is as fast and needs no tables. */
    private static final int BUCKETS_FROM = 64;
    /** With even hashes one bucket in 10^15 has more (Poisson, mean 1); keys chosen to collide go to the library's sort. */
    private static final int BUCKET_LIMIT = 16;

    private long[] packed = new long[0];
    private long[] other = new long[0];
    private int[] bucketEnds = new int[0];
    private final int[] identityCounts = new int[1 << IDENTITY_BITS];
    private final int[] identityStarts = new int[1 << IDENTITY_BITS];

    /**
     * Sorts in place.
     *
     * @param records addresses in the order of the log
     * @param count how many of them
     * @return how many are left, at the array's beginning: of each key the newest whole value or tombstone and what is chained after it
     */
    public int sort(long[] records, int count) {
        int indexBits = 64 - Long.numberOfLeadingZeros(Math.max(1, count - 1));
        int hashBits = 64 - IDENTITY_BITS - indexBits;
        reserve(count);
        for (int i = 0; i < count; i++) {
            long hash = hash(records[i]);
            long identity = Record.identity(records[i]);
            packed[i] = (identity << 64 - IDENTITY_BITS | hash >>> 64 - hashBits << indexBits | i) ^ Long.MIN_VALUE;
        }
        if (count < BUCKETS_FROM || !distribute(count)) {
            Arrays.sort(packed, 0, count);
        }
        long indexMask = (1L << indexBits) - 1;
        long[] sorted = other;
        for (int i = 0; i < count; i++) {
            sorted[i] = records[(int) (packed[i] & indexMask)];
        }
        return settle(sorted, count, indexBits, records);
    }

    private void reserve(int count) {
        if (packed.length < count) {
            packed = new long[count];
            other = new long[count];
            bucketEnds = new int[count + 1];
        }
    }

    /**
     * Sorts {@link #packed} by as many buckets as there are records, each identity's share of them by its hashes' upper 32 bits. False when a bucket
     * gets too many; nothing but the order has changed then.
     */
    private boolean distribute(int count) {
        Arrays.fill(identityCounts, 0);
        for (int i = 0; i < count; i++) {
            identityCounts[identity(packed[i])]++;
        }
        int start = 0;
        for (int identity = 0; identity < identityCounts.length; identity++) {
            identityStarts[identity] = start;
            start += identityCounts[identity];
        }
        Arrays.fill(bucketEnds, 0, count + 1, 0);
        int fullest = 0;
        for (int i = 0; i < count; i++) {
            fullest = Math.max(fullest, ++bucketEnds[bucket(packed[i]) + 1]);
        }
        if (fullest > BUCKET_LIMIT) {
            return false;
        }
        for (int i = 1; i <= count; i++) {
            bucketEnds[i] += bucketEnds[i - 1];
        }
        for (int i = 0; i < count; i++) {
            other[bucketEnds[bucket(packed[i])]++] = packed[i];
        }
        long[] spread = other;
        other = packed;
        packed = spread;
        straighten(spread, count);
        return true;
    }

    private static int identity(long item) {
        return (int) ((item ^ Long.MIN_VALUE) >>> 64 - IDENTITY_BITS);
    }

    private int bucket(long item) {
        int identity = identity(item);
        long upper = item << IDENTITY_BITS >>> 32;
        return identityStarts[identity] + (int) (upper * identityCounts[identity] >>> 32);
    }

    /** Insertion sort: what is out of place is so within its bucket. */
    private static void straighten(long[] items, int count) {
        for (int i = 1; i < count; i++) {
            long item = items[i];
            int place = i;
            while (place > 0 && items[place - 1] > item) {
                items[place] = items[place - 1];
                place--;
            }
            items[place] = item;
        }
    }

    /** Records whose packed prefixes are equal are compared in full, which leaves versions of one key in the order of the log; others differ. */
    private int settle(long[] sorted, int count, int indexBits, long[] out) {
        int kept = 0;
        int start = 0;
        for (int i = 1; i <= count; i++) {
            if (i == count || packed[i] >>> indexBits != packed[start] >>> indexBits) {
                if (i == start + 1) {
                    out[kept++] = sorted[start];
                } else {
                    for (int j = start + 1; j < i; j++) {
                        insert(sorted, start, j);
                    }
                    kept = dropSuperseded(sorted, start, i, out, kept);
                }
                start = i;
            }
        }
        return kept;
    }

    private static void insert(long[] sorted, int from, int at) {
        long record = sorted[at];
        int place = at;
        while (place > from && compare(sorted[place - 1], record) > 0) {
            sorted[place] = sorted[place - 1];
            place--;
        }
        sorted[place] = record;
    }

    /** By hash, then key bytes; the identity is the same. */
    private static int compare(long a, long b) {
        int byHash = Long.compareUnsigned(hash(a), hash(b));
        return byHash != 0
                ? byHash
                : Memory.compare(Record.keyAddress(a), Record.keyLength(a), Record.keyAddress(b), Record.keyLength(b));
    }

    private static int dropSuperseded(long[] sorted, int from, int to, long[] out, int keptBefore) {
        int kept = keptBefore;
        int start = from;
        for (int i = from + 1; i <= to; i++) {
            if (i < to && sameKey(sorted[start], sorted[i])) {
                continue;
            }
            int newest = i - 1;
            while (newest > start && Record.has(sorted[newest], Record.CHAINED)) {
                newest--;
            }
            for (int j = newest; j < i; j++) {
                out[kept++] = sorted[j];
            }
            start = i;
        }
        return kept;
    }

    /** Whether two records of one key group are versions or pieces of the same key. */
    public static boolean sameKey(long a, long b) {
        int length = Record.keyLength(a);
        return Record.identity(a) == Record.identity(b)
                && length == Record.keyLength(b)
                && Memory.equal(Record.keyAddress(a), Record.keyAddress(b), length);
    }

    /** The hash that records are ordered by. */
    public static long hash(long record) {
        return KeyHash.hash(Record.identity(record), Record.keyAddress(record), Record.keyLength(record));
    }
}
