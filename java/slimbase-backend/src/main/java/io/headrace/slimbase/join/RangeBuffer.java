package io.headrace.slimbase.join;

import io.headrace.slimbase.OrderedMapState;
import java.util.Collections;
import java.util.Map;
import org.apache.flink.api.common.state.MapState;

/** A buffer of which a walk gives the entries of one closed range of times. */
final class RangeBuffer<V> extends TimeBuffer<V> {
    private final OrderedMapState<Long, V> ordered;
    private long from = Long.MAX_VALUE;
    private long to = Long.MIN_VALUE;

    RangeBuffer(MapState<Long, V> state, OrderedMapState<Long, V> ordered) {
        super(state);
        this.ordered = ordered;
    }

    /** What walks give from now on: times from the first to the second one, both included; none when the first is greater. */
    void limit(long fromInclusive, long toInclusive) {
        from = fromInclusive;
        to = toInclusive;
    }

    @Override
    public Iterable<Map.Entry<Long, V>> entries() throws Exception {
        return from > to ? Collections.emptyList() : ordered.range(from, after(to));
    }

    /** The first time behind one, as ranges want their end; null behind the greatest. */
    static Long after(long time) {
        return time == Long.MAX_VALUE ? null : Long.valueOf(time + 1);
    }
}
