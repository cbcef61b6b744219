package io.headrace.slimbase.registry;

import org.apache.flink.runtime.state.KeyGroupRange;

/** The key groups of a subtask and how many the job has. */
public final class KeyGroups {
    private final KeyGroupRange range;
    private final int total;

    public KeyGroups(KeyGroupRange range, int total) {
        this.range = range;
        this.total = total;
    }

    public KeyGroupRange range() {
        return range;
    }

    /** The job's key groups, i.e. its maximum parallelism. */
    public int total() {
        return total;
    }
}
