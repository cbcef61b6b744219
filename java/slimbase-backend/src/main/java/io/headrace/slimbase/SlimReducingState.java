package io.headrace.slimbase;

import io.headrace.slimbase.registry.StateInfo;
import java.io.IOException;
import java.util.Collection;
import org.apache.flink.api.common.functions.ReduceFunction;
import org.apache.flink.api.common.state.ReducingStateDescriptor;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.internal.InternalReducingState;

/** Reducing state. */
final class SlimReducingState<K, N, V> extends WholeValueState<K, N, V> implements InternalReducingState<K, N, V> {
    private ReduceFunction<V> reduce;

    SlimReducingState(SlimKeyedStateBackend<K> backend, StateInfo info) {
        super(backend, info);
    }

    @Override
    void update(RegisteredKeyValueStateBackendMetaInfo<N, V> meta, StateDescriptor<?, V> descriptor) {
        super.update(meta, descriptor);
        reduce = ((ReducingStateDescriptor<V>) descriptor).getReduceFunction();
    }

    @Override
    public V get() throws IOException {
        return read();
    }

    @Override
    public void add(V value) throws Exception {
        if (value == null) {
            clear();
            return;
        }
        V before = read();
        updateInternal(before == null ? value : reduce.reduce(before, value));
    }

    @Override
    public void mergeNamespaces(N target, Collection<N> sources) throws Exception {
        if (sources == null || sources.isEmpty()) {
            return;
        }
        V merged = null;
        for (N source : sources) {
            V value = source == null ? null : take(source);
            if (value != null) {
                merged = merged == null ? value : reduce.reduce(merged, value);
            }
        }
        if (merged != null) {
            setCurrentNamespace(target);
            V there = read();
            updateInternal(there == null ? merged : reduce.reduce(there, merged));
        }
    }
}
