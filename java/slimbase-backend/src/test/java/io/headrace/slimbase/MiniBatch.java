package io.headrace.slimbase;

import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.state.KeyedStateBackend;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.util.KeyedOneInputStreamOperatorTestHarness;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.binary.BinaryRowData;
import org.apache.flink.table.data.writer.BinaryRowWriter;
import org.apache.flink.table.runtime.dataview.StateDataViewStore;
import org.apache.flink.table.runtime.generated.AggsHandleFunction;
import org.apache.flink.table.runtime.generated.GeneratedAggsHandleFunction;
import org.apache.flink.table.runtime.generated.GeneratedRecordEqualiser;
import org.apache.flink.table.runtime.generated.RecordEqualiser;
import org.apache.flink.table.runtime.operators.aggregate.MiniBatchGroupAggFunction;
import org.apache.flink.table.runtime.operators.bundle.KeyedMapBundleOperator;
import org.apache.flink.table.runtime.operators.bundle.trigger.CountBundleTrigger;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;

/** Flink's own mini-batch operator for `SELECT key, COUNT(*), SUM(value) GROUP BY key`, its generated parts written by hand. */
final class MiniBatch {
    static final int KEY_GROUPS = 128;

    private static final LogicalType LONG = new BigIntType(false);
    private static final InternalTypeInfo<RowData> KEY = InternalTypeInfo.ofFields(LONG);
    private static final InternalTypeInfo<RowData> RESULT = InternalTypeInfo.ofFields(LONG, LONG, LONG);

    private final int bundle;

    MiniBatch(int bundle) {
        this.bundle = bundle;
    }

    /** The operator as the only subtask, restored or new (null). */
    KeyedOneInputStreamOperatorTestHarness<RowData, RowData, RowData> open(StateBackend kind, OperatorSubtaskState restored) throws Exception {
        return open(kind, restored, 1, 0);
    }

    KeyedOneInputStreamOperatorTestHarness<RowData, RowData, RowData> open(
            StateBackend kind, OperatorSubtaskState restored, int parallelism, int subtask) throws Exception {
        MiniBatchGroupAggFunction function = new MiniBatchGroupAggFunction(
                new Handler(), new Equaliser(), new LogicalType[] {LONG, LONG}, RowType.of(LONG, LONG), 0, false, 0);
        KeyedOneInputStreamOperatorTestHarness<RowData, RowData, RowData> harness = new KeyedOneInputStreamOperatorTestHarness<>(
                new KeyedMapBundleOperator<>(function, new CountBundleTrigger<>(bundle)), new Key(), KEY, KEY_GROUPS, parallelism, subtask);
        harness.setStateBackend(kind);
        harness.setup(RESULT.toSerializer());
        if (restored != null) {
            harness.initializeState(restored);
        }
        harness.open();
        return harness;
    }

    @SuppressWarnings("unchecked")
    static SlimKeyedStateBackend<RowData> backend(KeyedOneInputStreamOperatorTestHarness<RowData, RowData, RowData> harness) {
        KeyedStateBackend<?> backend = ((AbstractStreamOperator<?>) harness.getOperator()).getKeyedStateBackend();
        return (SlimKeyedStateBackend<RowData>) backend;
    }

    StreamRecord<RowData> record(long key, long value) {
        return new StreamRecord<>(GenericRowData.of(key, value));
    }

    /** The key as generated selectors make it: a row of its own. */
    static final class Key implements KeySelector<RowData, RowData> {
        private static final long serialVersionUID = 1L;

        @Override
        public RowData getKey(RowData record) {
            BinaryRowData key = new BinaryRowData(1);
            BinaryRowWriter writer = new BinaryRowWriter(key);
            writer.writeLong(0, record.getLong(0));
            writer.complete();
            return key;
        }
    }

    /** Makes {@link Equal}. */
    private static final class Equaliser extends GeneratedRecordEqualiser {
        private static final long serialVersionUID = 1L;

        private Equaliser() {
            super("", "", new Object[0]);
        }

        @Override
        public RecordEqualiser newInstance(ClassLoader loader) {
            return (a, b) -> a.getLong(0) == b.getLong(0) && a.getLong(1) == b.getLong(1);
        }
    }

    /** Makes {@link Aggregates}. */
    private static final class Handler extends GeneratedAggsHandleFunction {
        private static final long serialVersionUID = 1L;

        private Handler() {
            super("", "", new Object[0], new Configuration());
        }

        @Override
        public AggsHandleFunction newInstance(ClassLoader loader) {
            return new Aggregates();
        }
    }

    /** COUNT(*) and SUM of the second column. */
    private static final class Aggregates implements AggsHandleFunction {
        private long count;
        private long sum;

        @Override
        public void open(StateDataViewStore store) {}

        @Override
        public void accumulate(RowData input) {
            count++;
            sum += input.getLong(1);
        }

        @Override
        public void retract(RowData input) {
            count--;
            sum -= input.getLong(1);
        }

        @Override
        public void merge(RowData accumulators) {
            throw new UnsupportedOperationException("not used");
        }

        @Override
        public void setAccumulators(RowData accumulators) {
            count = accumulators.getLong(0);
            sum = accumulators.getLong(1);
        }

        @Override
        public void resetAccumulators() {
            count = 0;
            sum = 0;
        }

        @Override
        public RowData getAccumulators() {
            return GenericRowData.of(count, sum);
        }

        @Override
        public RowData createAccumulators() {
            return GenericRowData.of(0L, 0L);
        }

        @Override
        public RowData getValue() {
            return GenericRowData.of(count, sum);
        }

        @Override
        public void setWindowSize(int windowSize) {}

        @Override
        public void cleanup() {}

        @Override
        public void close() {}
    }
}
