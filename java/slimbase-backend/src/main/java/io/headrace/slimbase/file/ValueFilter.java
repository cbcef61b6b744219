package io.headrace.slimbase.file;

/** Decides while records are packed whether a value is still wanted (time to live). Called from background threads. */
@FunctionalInterface
public interface ValueFilter {
    /** Whether the live, whole record at the address is kept. */
    boolean keep(long record);

    /**
     * Whether a file's entry, a whole value without chained pieces, is kept when files are merged.
     *
     * @param identity state id times two, plus one for an auxiliary record
     */
    default boolean keepEntry(int identity, long key, int keyLength, long value, int valueLength) {
        return true;
    }
}
