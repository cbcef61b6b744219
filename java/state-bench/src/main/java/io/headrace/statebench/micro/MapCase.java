package io.headrace.statebench.micro;

import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.DoubleSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;

/** `MapState<Long, Double>`, 10 entries a key as in flink-benchmarks; n counts entries. `iterate` is one whole map. */
final class MapCase extends KeyedCase<Long> {

    static final int ENTRIES = 10;

    private MapState<Long, Double> state;

    @Override
    TypeSerializer<Long> keySerializer() {
        return LongSerializer.INSTANCE;
    }

    @Override
    void openState() throws Exception {
        state = backend.state(new MapStateDescriptor<>("map", LongSerializer.INSTANCE, DoubleSerializer.INSTANCE));
    }

    @Override
    public void load(long n) throws Exception {
        for (long i = 0; i < n; i++) {
            put(KeyStream.loadOrder(i, n));
        }
    }

    @Override
    void checkRecord(long record) throws Exception {
        backend.keyed().setCurrentKey(record / ENTRIES);
        Double found = state.get(record % ENTRIES);
        require(found != null && found == (double) record, record, found);
        int entries = 0;
        for (Map.Entry<Long, Double> entry : state.entries()) {
            require(entry.getValue() == record / ENTRIES * ENTRIES + entry.getKey(), record, entry);
            entries++;
        }
        require(entries == ENTRIES, record, entries);
    }

    @Override
    public Map<String, Op> operations() {
        Map<String, Op> operations = new LinkedHashMap<>();
        operations.put("get", this::get);
        operations.put("iterate", this::iterate);
        operations.put("put", this::put);
        return operations;
    }

    private long get(long record) throws Exception {
        backend.keyed().setCurrentKey(record / ENTRIES);
        return state.get(record % ENTRIES).longValue();
    }

    private long put(long record) throws Exception {
        backend.keyed().setCurrentKey(record / ENTRIES);
        state.put(record % ENTRIES, (double) record);
        return record;
    }

    private long iterate(long record) throws Exception {
        backend.keyed().setCurrentKey(record / ENTRIES);
        long sum = 0;
        for (Map.Entry<Long, Double> entry : state.entries()) {
            sum += entry.getKey() + entry.getValue().longValue();
        }
        return sum;
    }
}
