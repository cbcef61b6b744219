package io.headrace.slimbase.file;

/** Sees a file's entries in order. Addresses hold for the call only. */
@FunctionalInterface
public interface EntryVisitor {
    /**
     * One entry.
     *
     * @param identity state id times two, plus one for an auxiliary record
     * @param flags 1: tombstone, 2: chained
     */
    void entry(int keyGroup, int identity, int flags, long key, int keyLength, long value, int valueLength);

    /** Before the entries of a key group: how many the file has of it. */
    default void keyGroup(int keyGroup, int entries) {}

    /** An entry that comes soon, named before the others of its block, so that what it will touch can be fetched meanwhile. */
    default void ahead(int keyGroup, int identity, long key, int keyLength) {}
}
