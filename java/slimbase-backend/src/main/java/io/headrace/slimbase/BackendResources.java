package io.headrace.slimbase;

import io.headrace.slimbase.engine.SlimEngine;
import org.apache.flink.util.IOUtils;

/** What a backend gives back at its end: the engine's memory first, then its share of the slot's budget. */
final class BackendResources implements AutoCloseable {
    private final SlimEngine engine;
    private final boolean isNative;
    private final AutoCloseable budgetLease;

    BackendResources(SlimEngine engine, boolean isNative, AutoCloseable budgetLease) {
        this.engine = engine;
        this.isNative = isNative;
        this.budgetLease = budgetLease;
    }

    /** Whether memory comes from the native library. */
    boolean isNative() {
        return isNative;
    }

    @Override
    public void close() {
        IOUtils.closeQuietly(engine);
        IOUtils.closeQuietly(budgetLease);
    }
}
