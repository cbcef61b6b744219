package io.headrace.statebench.micro;

import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.binary.BinaryRowData;
import org.apache.flink.table.data.writer.BinaryRowWriter;
import org.apache.flink.table.runtime.typeutils.RowDataSerializer;
import org.apache.flink.table.types.logical.BigIntType;

/** What SQL's GROUP BY keeps: a `BinaryRowData` key (copied per row, as its key selector does) and a row of 3 BIGINTs. */
final class RowCase extends KeyedCase<RowData> {

    private final BinaryRowData reused = new BinaryRowData(1);
    private final BinaryRowWriter writer = new BinaryRowWriter(reused);
    private ValueState<RowData> state;

    @Override
    TypeSerializer<RowData> keySerializer() {
        return new RowDataSerializer(new BigIntType());
    }

    @Override
    void openState() throws Exception {
        RowDataSerializer accumulator = new RowDataSerializer(new BigIntType(), new BigIntType(), new BigIntType());
        state = backend.state(new ValueStateDescriptor<>("accumulator", accumulator));
    }

    private void choose(long key) {
        writer.reset();
        writer.writeLong(0, key);
        writer.complete();
        backend.keyed().setCurrentKey(reused.copy());
    }

    @Override
    public void load(long n) throws Exception {
        for (long i = 0; i < n; i++) {
            long key = KeyStream.loadOrder(i, n);
            choose(key);
            state.update(GenericRowData.of(1L, key, key));
        }
    }

    @Override
    void checkRecord(long record) throws Exception {
        choose(record);
        RowData found = state.value();
        boolean same = found != null && found.getLong(0) == 1 && found.getLong(1) == record && found.getLong(2) == record;
        require(same, record, found);
    }

    @Override
    public Map<String, Op> operations() {
        Map<String, Op> operations = new LinkedHashMap<>();
        operations.put("get", this::get);
        operations.put("rmw", this::readModifyWrite);
        return operations;
    }

    private long get(long key) throws Exception {
        choose(key);
        return state.value().getLong(0);
    }

    private long readModifyWrite(long key) throws Exception {
        choose(key);
        RowData row = state.value();
        long count = row.getLong(0) + 1;
        state.update(GenericRowData.of(count, row.getLong(1) + key, Math.max(row.getLong(2), key)));
        return count;
    }
}
