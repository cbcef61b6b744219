package io.headrace.slimbase;

import java.util.Collection;
import java.util.List;
import org.apache.flink.runtime.state.StateEntry;
import org.apache.flink.runtime.state.internal.InternalKvState.StateIncrementalVisitor;

/** Nothing to visit this time. */
final class NoVisitor<K, N, V> implements StateIncrementalVisitor<K, N, V> {
    private static final NoVisitor<?, ?, ?> INSTANCE = new NoVisitor<>();

    private NoVisitor() {}

    @SuppressWarnings("unchecked")
    static <K, N, V> NoVisitor<K, N, V> instance() {
        return (NoVisitor<K, N, V>) INSTANCE;
    }

    @Override
    public boolean hasNext() {
        return false;
    }

    @Override
    public Collection<StateEntry<K, N, V>> nextEntries() {
        return List.of();
    }

    @Override
    public void remove(StateEntry<K, N, V> entry) {}

    @Override
    public void update(StateEntry<K, N, V> entry, V newValue) {}
}
