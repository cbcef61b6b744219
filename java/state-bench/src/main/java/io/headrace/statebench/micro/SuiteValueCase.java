package io.headrace.statebench.micro;

import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;

/** ValueStateBenchmark: valueGet, valueUpdate, valueAdd. */
final class SuiteValueCase extends SuiteCase {

    private ValueState<Long> state;

    @Override
    void openState() throws Exception {
        state = backend.state(new ValueStateDescriptor<>("valueState", LongSerializer.INSTANCE));
        operations.put("valueGet", key -> {
            old(key);
            return state.value();
        });
        operations.put("valueUpdate", key -> {
            old(key);
            state.update(key + 1);
            return key;
        });
        operations.put("valueAdd", key -> {
            added(key);
            state.update(key);
            return key;
        });
    }

    @Override
    public void load(long n) throws Exception {
        setupKeys = n;
        for (long i = 0; i < n; i++) {
            long key = KeyStream.loadOrder(i, n);
            old(key);
            state.update(key);
        }
    }

    @Override
    void checkRecord(long record) throws Exception {
        old(record);
        Long found = state.value();
        require(found != null && found == record, record, found);
    }
}
