package io.headrace.slimbase.file;

/**
 * Reads out of entries when they were used last, for states with a time to live: once the latest of a file's has expired, nothing in the file is needed.
 * Called from background threads.
 */
@FunctionalInterface
public interface AccessTimes {
    /** Of an entry that may be needed at any time, or of which it is not known. */
    long ALWAYS = Long.MAX_VALUE;
    /** Where there is nothing but tombstones, which only hide what is older. */
    long NEVER = Long.MIN_VALUE;

    /**
     * The last access, ms since 1970, of the entry's value, or of a map or piece of a list the latest one of its elements; a bound from above will do.
     *
     * @param identity state id times two, plus one for an auxiliary record
     */
    long latest(int identity, long value, int valueLength);
}
