package io.headrace.statebench.micro;

import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.typeutils.base.DoubleSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;

/**
 * MapStateBenchmark: mapGet, mapContains (of a key that is mostly absent), mapIsEmpty, mapKeys, mapValues, mapEntries,
 * mapIterator, mapUpdate, mapPutAll, mapAdd, mapRemove. Times are per call, not per entry as there.
 */
final class SuiteMapCase extends SuiteCase {

    private static final int ENTRIES = 10;

    private final Map<Long, Double> ten = new HashMap<>();
    private MapState<Long, Double> state;
    private long turn;

    @Override
    void openState() throws Exception {
        state = backend.state(new MapStateDescriptor<>("mapState", LongSerializer.INSTANCE, DoubleSerializer.INSTANCE));
        for (long i = 0; i < ENTRIES; i++) {
            ten.put(i, i * 0.5);
        }
        addReads();
        addWalks();
        addWrites();
    }

    private long entryKey() {
        turn = turn + 1 == ENTRIES ? 0 : turn + 1;
        return turn;
    }

    private void addReads() {
        operations.put("mapGet", key -> {
            old(key);
            return state.get(entryKey()).longValue();
        });
        operations.put("mapContains", key -> {
            old(key);
            return state.contains(entryKey() << 1) ? 1 : 0;
        });
        operations.put("mapIsEmpty", key -> {
            old(key);
            return state.isEmpty() ? 1 : 0;
        });
    }

    private void addWalks() {
        operations.put("mapKeys", key -> {
            old(key);
            long sum = 0;
            for (long one : state.keys()) {
                sum += one;
            }
            return sum;
        });
        operations.put("mapValues", key -> {
            old(key);
            double sum = 0;
            for (double one : state.values()) {
                sum += one;
            }
            return (long) sum;
        });
        operations.put("mapEntries", key -> {
            old(key);
            return sum(state.entries().iterator());
        });
        operations.put("mapIterator", key -> {
            old(key);
            return sum(state.iterator());
        });
    }

    private static long sum(Iterator<Map.Entry<Long, Double>> entries) {
        long sum = 0;
        while (entries.hasNext()) {
            Map.Entry<Long, Double> entry = entries.next();
            sum += entry.getKey() + entry.getValue().longValue();
        }
        return sum;
    }

    private void addWrites() {
        operations.put("mapUpdate", key -> {
            old(key);
            state.put(entryKey(), (double) key);
            return key;
        });
        operations.put("mapPutAll", key -> {
            old(key);
            state.putAll(ten);
            return key;
        });
        operations.put("mapAdd", key -> {
            added(key);
            state.put(entryKey(), (double) key);
            return key;
        });
        operations.put("mapRemove", key -> {
            old(key);
            state.remove(entryKey());
            return key;
        });
    }

    @Override
    public void load(long n) throws Exception {
        setupKeys = n;
        for (long i = 0; i < n; i++) {
            long key = KeyStream.loadOrder(i, n);
            old(key);
            for (long entry = 0; entry < ENTRIES; entry++) {
                state.put(entry, (double) (key + entry));
            }
        }
    }

    @Override
    void checkRecord(long record) throws Exception {
        old(record);
        int entries = 0;
        for (Map.Entry<Long, Double> entry : state.entries()) {
            require(entry.getValue() == (double) (record + entry.getKey()), record, entry);
            entries++;
        }
        require(entries == ENTRIES, record, entries);
    }
}
