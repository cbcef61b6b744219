package io.headrace.slimbase.file;

/** Decides while records are packed whether a value is still wanted (time to live). Called from background threads. */
@FunctionalInterface
public interface ValueFilter {
    /** Whether the live, whole record at the address is kept. */
    boolean keep(long record);
}
