package io.headrace.slimbase.join;

import java.util.Iterator;
import java.util.Map;
import org.apache.flink.api.common.state.MapState;

/**
 * A join's rows of one input, by time: the operator's own map state, except that a walk gives only the entries that the operator's next step
 * needs. Everything else goes through as it is, so state, its name and its serializers are the operator's.
 */
abstract class TimeBuffer<V> implements MapState<Long, V> {
    private final MapState<Long, V> state;

    TimeBuffer(MapState<Long, V> state) {
        this.state = state;
    }

    /** The entries that are needed now, those of smaller times first. */
    @Override
    public abstract Iterable<Map.Entry<Long, V>> entries() throws Exception;

    /** All entries, in the state's own order. */
    final Iterable<Map.Entry<Long, V>> allEntries() throws Exception {
        return state.entries();
    }

    @Override
    public final Iterator<Map.Entry<Long, V>> iterator() throws Exception {
        return entries().iterator();
    }

    @Override
    public final V get(Long time) throws Exception {
        return state.get(time);
    }

    @Override
    public final void put(Long time, V rows) throws Exception {
        state.put(time, rows);
    }

    @Override
    public final void putAll(Map<Long, V> rows) throws Exception {
        state.putAll(rows);
    }

    @Override
    public final void remove(Long time) throws Exception {
        state.remove(time);
    }

    @Override
    public final boolean contains(Long time) throws Exception {
        return state.contains(time);
    }

    @Override
    public final Iterable<Long> keys() throws Exception {
        return state.keys();
    }

    @Override
    public final Iterable<V> values() throws Exception {
        return state.values();
    }

    @Override
    public final boolean isEmpty() throws Exception {
        return state.isEmpty();
    }

    @Override
    public final void clear() {
        state.clear();
    }
}
