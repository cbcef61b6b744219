package io.headrace.statebench.micro;

import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;

/**
 * Base of the port of flink-benchmarks' state suite (ValueStateBenchmark, ListStateBenchmark, MapStateBenchmark): the
 * same cases under the same names, 500,000 set-up keys, as many new keys, no JMH.
 */
abstract class SuiteCase extends KeyedCase<Long> {

    protected final Map<String, Op> operations = new LinkedHashMap<>();
    protected long setupKeys;

    @Override
    TypeSerializer<Long> keySerializer() {
        return LongSerializer.INSTANCE;
    }

    @Override
    public final Map<String, Op> operations() {
        return operations;
    }

    /** What adds to the state runs once a key on average. */
    @Override
    public long limit(String operation, long n) {
        return operation.endsWith("Add") || operation.endsWith("Append") || operation.endsWith("Remove") ? n : 0;
    }

    @Override
    public boolean isSkewed(String operation) {
        return false;
    }

    /** Chooses a set-up key. */
    protected void old(long key) {
        backend.keyed().setCurrentKey(key);
    }

    /** Chooses a key that was not there at set-up. */
    protected void added(long key) {
        backend.keyed().setCurrentKey(key + setupKeys);
    }
}
