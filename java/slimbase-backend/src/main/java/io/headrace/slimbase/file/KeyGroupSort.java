package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.KeyHash;
import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import java.util.Arrays;

/**
 * Orders the records of one key group by (state id, AUX, hash, key bytes, order in the log) and drops what is superseded.
 *
 * <p>One long per record holds identity, as many bits of the hash as fit, and the record's place in the log: sorting those is a primitive sort,
 * and only the few that tie in the upper bits are compared in full.
 */
public final class KeyGroupSort {
    private static final int IDENTITY_BITS = 11;

    private long[] packed = new long[0];

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
        packed = packed.length < count ? new long[count] : packed;
        for (int i = 0; i < count; i++) {
            long hash = hash(records[i]);
            long identity = Record.identity(records[i]);
            packed[i] = (identity << 64 - IDENTITY_BITS | hash >>> 64 - hashBits << indexBits | i) ^ Long.MIN_VALUE;
        }
        Arrays.sort(packed, 0, count);
        long indexMask = (1L << indexBits) - 1;
        long[] sorted = new long[count];
        for (int i = 0; i < count; i++) {
            sorted[i] = records[(int) (packed[i] & indexMask)];
        }
        settleTies(sorted, count, indexBits);
        return dropSuperseded(sorted, count, records);
    }

    /** Records whose packed prefixes are equal: insertion sort, which leaves versions of one key in the order of the log. */
    private void settleTies(long[] sorted, int count, int indexBits) {
        int start = 0;
        for (int i = 1; i <= count; i++) {
            if (i == count || packed[i] >>> indexBits != packed[start] >>> indexBits) {
                for (int j = start + 1; j < i; j++) {
                    insert(sorted, start, j);
                }
                start = i;
            }
        }
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

    private static int dropSuperseded(long[] sorted, int count, long[] out) {
        int kept = 0;
        int start = 0;
        for (int i = 1; i <= count; i++) {
            if (i < count && sameKey(sorted[start], sorted[i])) {
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
