package io.headrace.slimbase;

import io.headrace.slimbase.registry.StateInfo;
import java.io.IOException;
import org.apache.flink.runtime.state.internal.InternalValueState;

/** Value state. */
final class SlimValueState<K, N, V> extends WholeValueState<K, N, V> implements InternalValueState<K, N, V> {
    SlimValueState(SlimKeyedStateBackend<K> backend, StateInfo info) {
        super(backend, info);
    }

    @Override
    public V value() throws IOException {
        return decodeOrDefault(locate());
    }

    @Override
    V decodeOrDefault(long found) throws IOException {
        V value = super.decodeOrDefault(found);
        return value == null ? defaultValue() : value;
    }

    @Override
    public void update(V value) throws IOException {
        updateInternal(value);
    }
}
