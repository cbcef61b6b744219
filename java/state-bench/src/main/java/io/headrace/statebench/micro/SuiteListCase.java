package io.headrace.statebench.micro;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;

/**
 * ListStateBenchmark: listGet, listGetAndIterate, listUpdate, listAppend, listAddAll, listAdd.
 *
 * <p>There, lists are cleared between iterations; here the appending cases run a fixed number of times instead.
 */
final class SuiteListCase extends SuiteCase {

    private static final int ADDED_AT_ONCE = 100;
    /** `listAddAll` adds 100 elements a call: a fifth of the keys gets one. */
    private static final int ADD_ALL_SHARE = 5;

    private ListState<Long> state;

    @Override
    void openState() throws Exception {
        state = backend.state(new ListStateDescriptor<>("listState", LongSerializer.INSTANCE));
        List<Long> many = new ArrayList<>();
        for (long i = 0; i < ADDED_AT_ONCE; i++) {
            many.add(KeyStream.mix(i));
        }
        operations.put("listGet", key -> {
            old(key);
            return state.get() == null ? 0 : 1;
        });
        operations.put("listGetAndIterate", key -> {
            old(key);
            long sum = 0;
            for (long element : state.get()) {
                sum += element;
            }
            return sum;
        });
        operations.put("listUpdate", key -> {
            old(key);
            state.update(Collections.singletonList(key));
            return key;
        });
        operations.put("listAdd", key -> {
            added(key);
            state.update(Collections.singletonList(key));
            return key;
        });
        operations.put("listAppend", key -> {
            old(key);
            state.add(key);
            return key;
        });
        operations.put("listAddAll", key -> {
            old(key);
            state.addAll(many);
            return key;
        });
    }

    @Override
    public long limit(String operation, long n) {
        return operation.equals("listAddAll") ? n / ADD_ALL_SHARE : super.limit(operation, n);
    }

    @Override
    public void load(long n) throws Exception {
        setupKeys = n;
        for (long i = 0; i < n; i++) {
            long key = KeyStream.loadOrder(i, n);
            old(key);
            state.add(key);
        }
    }

    @Override
    void checkRecord(long record) throws Exception {
        old(record);
        for (long element : state.get()) {
            require(element == record, record, element);
        }
    }
}
