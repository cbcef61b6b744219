package io.headrace.slimbase;

import io.headrace.slimbase.engine.MemoryBudget;

/** The budget of a slot, as Flink's memory manager keeps it for the slot's operators. Engines free their own memory, so closing does nothing. */
final class SharedBudget implements AutoCloseable {
    private final MemoryBudget budget;

    SharedBudget(long bytes) {
        this.budget = new MemoryBudget(bytes);
    }

    MemoryBudget budget() {
        return budget;
    }

    @Override
    public void close() {}
}
