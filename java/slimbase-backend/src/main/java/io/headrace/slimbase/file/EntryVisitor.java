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
}
