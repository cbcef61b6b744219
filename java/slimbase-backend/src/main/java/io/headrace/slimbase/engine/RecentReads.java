package io.headrace.slimbase.engine;

/**
 * The records that were read from files last. One operation may read several before it writes any, and each more than once, as the root and a page of a map:
 * that a record is read again while it is here tells nothing about later. Task thread.
 */
final class RecentReads {
    private static final int PLACES = 4;
    /** Lookups in files for which a record that was read stays where it is; half of what is promised. */
    private static final int HELD_LOOKUPS = 24;
    /** Reads after which one that is still read is read for its own sake. */
    private static final int OF_ONE_OPERATION = 8;

    private final ColdTier tier;
    /** Addresses of records, 0 where there is none. */
    private final long[] records = new long[PLACES];
    private final long[] hashes = new long[PLACES];
    private final boolean[] wasReadBefore = new boolean[PLACES];
    /** Lookups in files, and reads, when it was read. */
    private final long[] lookedUpAt = new long[PLACES];
    private final long[] readAt = new long[PLACES];

    private int oldest;
    private long reads;

    RecentReads(ColdTier tier) {
        this.tier = tier;
    }

    /** Files have come or gone: what they have of a key may be another record now. */
    void clear() {
        java.util.Arrays.fill(records, 0);
    }

    /** The place of the key's record; -1 when it is not here. */
    int find(int keyGroup, int identity, long hash, long key, int keyLength) {
        reads++;
        for (int place = 0; place < PLACES; place++) {
            if (hashes[place] == hash && isHeld(place) && isOf(records[place], keyGroup, identity, key, keyLength)) {
                return place;
            }
        }
        return -1;
    }

    private static boolean isOf(long record, int keyGroup, int identity, long key, int keyLength) {
        return Record.keyGroup(record) == keyGroup
                && Record.identity(record) == identity
                && Memory.compare(Record.keyAddress(record), Record.keyLength(record), key, keyLength) == 0;
    }

    /** Whether the record of the place is still there. */
    boolean isHeld(int place) {
        return records[place] != 0 && tier.lookups - lookedUpAt[place] <= HELD_LOOKUPS;
    }

    long record(int place) {
        return records[place];
    }

    long hash(int place) {
        return hashes[place];
    }

    /** Whether the record is read for longer than one operation takes. */
    boolean isReadOn(int place) {
        return reads - readAt[place] >= OF_ONE_OPERATION;
    }

    void remove(int place) {
        records[place] = 0;
    }

    /** The place that the next record takes. */
    int oldest() {
        return oldest;
    }

    /** Whether the key of the place's record had been read before. */
    boolean isReadAgain(int place) {
        return wasReadBefore[place];
    }

    /** Takes the place of the oldest. */
    void add(long record, long hash, boolean readBefore) {
        records[oldest] = record;
        hashes[oldest] = hash;
        wasReadBefore[oldest] = readBefore;
        lookedUpAt[oldest] = tier.lookups;
        readAt[oldest] = reads;
        oldest = (oldest + 1) % PLACES;
    }
}
