package io.headrace.slimbase;

import io.headrace.slimbase.registry.StateInfo;
import java.io.IOException;
import java.util.Collection;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.state.AggregatingStateDescriptor;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.internal.InternalAggregatingState;

/** Aggregating state: the record holds the accumulator. */
final class SlimAggregatingState<K, N, T, A, R> extends WholeValueState<K, N, A>
        implements InternalAggregatingState<K, N, T, A, R> {
    private AggregateFunction<T, A, R> aggregate;

    SlimAggregatingState(SlimKeyedStateBackend<K> backend, StateInfo info) {
        super(backend, info);
    }

    @Override
    @SuppressWarnings("unchecked")
    void update(RegisteredKeyValueStateBackendMetaInfo<N, A> meta, StateDescriptor<?, A> descriptor) {
        super.update(meta, descriptor);
        aggregate = ((AggregatingStateDescriptor<T, A, R>) descriptor).getAggregateFunction();
    }

    @Override
    public R get() throws IOException {
        A accumulator = read();
        return accumulator == null ? null : aggregate.getResult(accumulator);
    }

    @Override
    public void add(T value) throws IOException {
        if (value == null) {
            clear();
            return;
        }
        A accumulator = read();
        updateInternal(aggregate.add(value, accumulator == null ? aggregate.createAccumulator() : accumulator));
    }

    @Override
    public void mergeNamespaces(N target, Collection<N> sources) throws IOException {
        if (sources == null || sources.isEmpty()) {
            return;
        }
        A merged = null;
        for (N source : sources) {
            A value = source == null ? null : take(source);
            if (value != null) {
                merged = merged == null ? value : aggregate.merge(merged, value);
            }
        }
        if (merged != null) {
            setCurrentNamespace(target);
            A there = read();
            updateInternal(there == null ? merged : aggregate.merge(there, merged));
        }
    }
}
