package io.headrace.statebench.micro;

import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;

/** `ValueState<Long>` under Long keys: a counter per key. */
final class LongCase extends KeyedCase<Long> {

    private ValueState<Long> state;

    @Override
    TypeSerializer<Long> keySerializer() {
        return LongSerializer.INSTANCE;
    }

    @Override
    void openState() throws Exception {
        state = backend.state(new ValueStateDescriptor<>("count", LongSerializer.INSTANCE));
    }

    @Override
    public void load(long n) throws Exception {
        for (long i = 0; i < n; i++) {
            update(KeyStream.loadOrder(i, n));
        }
    }

    @Override
    void checkRecord(long record) throws Exception {
        backend.keyed().setCurrentKey(record);
        Long found = state.value();
        require(found != null && found == record, record, found);
    }

    @Override
    public Map<String, Op> operations() {
        Map<String, Op> operations = new LinkedHashMap<>();
        operations.put("get", this::get);
        operations.put("update", this::update);
        operations.put("rmw", this::readModifyWrite);
        return operations;
    }

    long get(long key) throws Exception {
        backend.keyed().setCurrentKey(key);
        return state.value();
    }

    long update(long key) throws Exception {
        backend.keyed().setCurrentKey(key);
        state.update(key);
        return key;
    }

    private long readModifyWrite(long key) throws Exception {
        backend.keyed().setCurrentKey(key);
        long value = state.value() + 1;
        state.update(value);
        return value;
    }
}
