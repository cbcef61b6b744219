package io.headrace.statebench.micro;

import io.headrace.statebench.Arguments;
import io.headrace.statebench.AsyncBackendUnderTest;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.common.state.v2.ListState;
import org.apache.flink.api.common.state.v2.ListStateDescriptor;
import org.apache.flink.api.common.state.v2.MapState;
import org.apache.flink.api.common.state.v2.MapStateDescriptor;
import org.apache.flink.api.common.state.v2.ValueState;
import org.apache.flink.api.common.state.v2.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.DoubleSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.core.asyncprocessing.InternalAsyncFuture;
import org.apache.flink.runtime.asyncprocessing.AbstractStateIterator;

/**
 * The asynchronous API's state of the same contents as {@link LongCase}, {@link MapCase} and {@link ListCase}: `get` hands each read to the executor by itself,
 * `get_batch` 256 of them together (Flink's controller: up to 1,000). ForSt reads on threads of its own: compare the process's CPU time and wall time.
 */
abstract class AsyncCase implements Case {

    /** A chunk of the meter, so that no read waits at the end of a slice. */
    private static final int BATCH = 256;
    private static final int CHECKED = 1_000;

    protected AsyncBackendUnderTest backend;

    abstract void openState() throws Exception;

    /** Requests to write the record; key set by it. */
    abstract void put(long record);

    /** Requests the read that is timed; key set by it. */
    abstract void get(long record);

    /** What a read found, as a number. */
    abstract long valueOf(Object answer);

    /** What a read of the record must find. */
    abstract long expected(long record);

    @Override
    public final void open(Arguments arguments) throws Exception {
        backend = AsyncBackendUnderTest.open(arguments);
        openState();
    }

    /** Records of one key come one after the other in no batch: the load's order is scrambled. */
    @Override
    public final void load(long n) throws Exception {
        for (long i = 0; i < n; i++) {
            put(KeyStream.loadOrder(i, n));
            if (backend.waiting() == BATCH) {
                answers();
            }
        }
        answers();
    }

    @Override
    public final void check(long n) throws Exception {
        KeyStream chosen = KeyStream.uniform(n, 7);
        for (int i = 0; i < CHECKED; i++) {
            long record = chosen.next();
            get(record);
            long found = answers();
            KeyedCase.require(found == expected(record), record, found);
        }
    }

    @Override
    public final void settle() {
        // ForSt's stores are on its own threads; reads go to whatever is there.
    }

    @Override
    public final Map<String, Op> operations() {
        Map<String, Op> operations = new LinkedHashMap<>();
        operations.put("get", this::getAlone);
        operations.put("get_batch", this::getTogether);
        return operations;
    }

    @Override
    public final boolean isSkewed(String operation) {
        return false;
    }

    private long getAlone(long record) throws Exception {
        get(record);
        return answers();
    }

    private long getTogether(long record) throws Exception {
        get(record);
        return backend.waiting() == BATCH ? answers() : 0;
    }

    private long answers() throws Exception {
        long sum = 0;
        for (InternalAsyncFuture<?> future : backend.execute()) {
            Object answer = future.get();
            sum += answer == null ? 0 : valueOf(answer);
        }
        return sum;
    }

    @Override
    public final void close() throws Exception {
        if (backend != null) {
            backend.close();
        }
    }

    /** `ValueState<Long>`. */
    static final class OfLong extends AsyncCase {
        private ValueState<Long> state;

        @Override
        void openState() throws Exception {
            state = backend.state(new ValueStateDescriptor<>("count", LongSerializer.INSTANCE));
        }

        @Override
        void put(long record) {
            backend.setKey(record);
            state.asyncUpdate(record);
        }

        @Override
        void get(long record) {
            backend.setKey(record);
            state.asyncValue();
        }

        @Override
        long valueOf(Object answer) {
            return (Long) answer;
        }

        @Override
        long expected(long record) {
            return record;
        }
    }

    /** `MapState<Long, Double>`, 10 entries a key; n counts entries. */
    static final class OfMap extends AsyncCase {
        private MapState<Long, Double> state;

        @Override
        void openState() throws Exception {
            state = backend.state(new MapStateDescriptor<>("map", LongSerializer.INSTANCE, DoubleSerializer.INSTANCE));
        }

        @Override
        void put(long record) {
            backend.setKey(record / MapCase.ENTRIES);
            state.asyncPut(record % MapCase.ENTRIES, (double) record);
        }

        @Override
        void get(long record) {
            backend.setKey(record / MapCase.ENTRIES);
            state.asyncGet(record % MapCase.ENTRIES);
        }

        @Override
        long valueOf(Object answer) {
            return ((Double) answer).longValue();
        }

        @Override
        long expected(long record) {
            return record;
        }
    }

    /** `ListState<Long>`, 10 elements a key, added one by one; n counts elements. A read takes a whole list. */
    static final class OfList extends AsyncCase {
        private ListState<Long> state;

        @Override
        void openState() throws Exception {
            state = backend.state(new ListStateDescriptor<>("list", LongSerializer.INSTANCE));
        }

        @Override
        void put(long record) {
            backend.setKey(record / ListCase.ELEMENTS);
            state.asyncAdd(record);
        }

        @Override
        void get(long record) {
            backend.setKey(record / ListCase.ELEMENTS);
            state.asyncGet();
        }

        @Override
        @SuppressWarnings("unchecked")
        long valueOf(Object answer) {
            long sum = 0;
            for (long element : ((AbstractStateIterator<Long>) answer).getCurrentCache()) {
                sum += element;
            }
            return sum;
        }

        @Override
        long expected(long record) {
            long first = record / ListCase.ELEMENTS * ListCase.ELEMENTS;
            return first * ListCase.ELEMENTS + ListCase.ELEMENTS * (ListCase.ELEMENTS - 1) / 2;
        }
    }
}
