package io.headrace.statebench.micro;

import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;

/** `ListState<Long>`, 10 elements a key, added one by one; n counts elements. `get` reads a whole list. */
final class ListCase extends KeyedCase<Long> {

    static final int ELEMENTS = 10;

    private ListState<Long> state;

    @Override
    TypeSerializer<Long> keySerializer() {
        return LongSerializer.INSTANCE;
    }

    @Override
    void openState() throws Exception {
        state = backend.state(new ListStateDescriptor<>("list", LongSerializer.INSTANCE));
    }

    @Override
    public void load(long n) throws Exception {
        for (long i = 0; i < n; i++) {
            add(KeyStream.loadOrder(i, n));
        }
    }

    @Override
    void checkRecord(long record) throws Exception {
        backend.keyed().setCurrentKey(record / ELEMENTS);
        long elements = 0;
        for (long element : state.get()) {
            require(element / ELEMENTS == record / ELEMENTS, record, element);
            elements++;
        }
        require(elements == ELEMENTS, record, elements);
    }

    @Override
    public Map<String, Op> operations() {
        Map<String, Op> operations = new LinkedHashMap<>();
        operations.put("get", this::get);
        operations.put("add", this::add);
        return operations;
    }

    /** Lists grow by half while `add` is timed, on every backend alike. */
    @Override
    public long limit(String operation, long n) {
        return operation.equals("add") ? n / 2 : 0;
    }

    /** Zipf adds would make one list of tens of thousands: another benchmark. */
    @Override
    public boolean isSkewed(String operation) {
        return operation.equals("get");
    }

    private long get(long record) throws Exception {
        backend.keyed().setCurrentKey(record / ELEMENTS);
        long sum = 0;
        for (long element : state.get()) {
            sum += element;
        }
        return sum;
    }

    private long add(long record) throws Exception {
        backend.keyed().setCurrentKey(record / ELEMENTS);
        state.add(record);
        return record;
    }
}
