package io.headrace.slimbase.engine;

/** Decides while records are moved whether one is still wanted (time to live). */
@FunctionalInterface
public interface RecordFilter {
    boolean keep(long record);
}
