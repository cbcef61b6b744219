package io.headrace.slimbase.join;

import io.headrace.slimbase.ChainedIterator;
import io.headrace.slimbase.OrderedMapState;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import org.apache.flink.api.common.state.MapState;

/**
 * A buffer of Flink's SQL interval join. For a row it walks over the buffer once: expired entries are removed (and padded with nulls, if the join
 * is an outer one), those in the row's range are joined. When a timer fires it walks to remove the expired ones and to find the earliest that
 * stays. So a walk here gives the expired entries, and those of the row's range or the first one that stays.
 */
final class ExpiringBuffer<V> extends TimeBuffer<V> {
    private final OrderedMapState<Long, V> ordered;
    private final LongSupplier expirationTime;
    private final long before;
    private final long after;
    private LongSupplier rowTime;

    /**
     * @param expirationTime asked at each walk: entries of this time and older have expired
     * @param before how far an entry may lie before a row in ms
     * @param after how far behind it
     */
    ExpiringBuffer(MapState<Long, V> state, OrderedMapState<Long, V> ordered, LongSupplier expirationTime, long before, long after) {
        super(state);
        this.ordered = ordered;
        this.expirationTime = expirationTime;
        this.before = before;
        this.after = after;
    }

    /** Walks are for a row of the other input from now on; its time is asked at each. */
    void forRow(LongSupplier time) {
        rowTime = time;
    }

    /** Walks are for a timer from now on. */
    void forTimer() {
        rowTime = null;
    }

    @Override
    public Iterable<Map.Entry<Long, V>> entries() throws Exception {
        long expired = expirationTime.getAsLong();
        return rowTime == null ? entriesForTimer(expired) : entriesForRow(expired, rowTime.getAsLong());
    }

    private Iterable<Map.Entry<Long, V>> entriesForRow(long expired, long time) throws Exception {
        long from = time - before;
        long to = time + after;
        if (from > to) {
            return ordered.range(Long.MIN_VALUE, RangeBuffer.after(expired));
        }
        if (expired >= from) {
            return ordered.range(Long.MIN_VALUE, RangeBuffer.after(Math.max(expired, to)));
        }
        return chained(
                ordered.range(Long.MIN_VALUE, RangeBuffer.after(expired)), ordered.range(from, RangeBuffer.after(to)));
    }

    private Iterable<Map.Entry<Long, V>> entriesForTimer(long expired) throws Exception {
        if (expired < 0) {
            // Flink takes the last negative time for the earliest: what it finds depends on all entries and their order.
            return allEntries();
        }
        Iterable<Map.Entry<Long, V>> gone = ordered.range(Long.MIN_VALUE, RangeBuffer.after(expired));
        return expired == Long.MAX_VALUE ? gone : chained(gone, first(ordered.range(expired + 1, null)));
    }

    private static <T> Iterable<T> first(Iterable<T> all) {
        return () -> {
            Iterator<T> iterator = all.iterator();
            return iterator.hasNext() ? List.of(iterator.next()).iterator() : List.<T>of().iterator();
        };
    }

    private static <T> Iterable<T> chained(Iterable<T> one, Iterable<T> two) {
        return () -> new ChainedIterator<>(List.of(one, two).iterator());
    }
}
