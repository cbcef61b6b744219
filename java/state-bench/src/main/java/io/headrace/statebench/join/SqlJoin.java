package io.headrace.statebench.join;

import org.apache.flink.api.common.functions.AbstractRichFunction;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.streaming.api.operators.TwoInputStreamOperator;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.binary.BinaryRowData;
import org.apache.flink.table.data.writer.BinaryRowWriter;
import org.apache.flink.table.runtime.generated.GeneratedJoinCondition;
import org.apache.flink.table.runtime.generated.JoinCondition;
import org.apache.flink.table.runtime.operators.join.FlinkJoinType;
import org.apache.flink.table.runtime.operators.join.KeyedCoProcessOperatorWithWatermarkDelay;
import org.apache.flink.table.runtime.operators.join.interval.IntervalJoinFunction;
import org.apache.flink.table.runtime.operators.join.interval.RowTimeIntervalJoin;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.VarCharType;

/** SQL's inner join in event time as the planner makes it; rows are (key, number, time, payload). */
final class SqlJoin implements JoinForm<RowData, RowData, RowData> {
    private static final long serialVersionUID = 1L;
    private static final BigIntType BIGINT = new BigIntType();
    private static final VarCharType STRING = VarCharType.STRING_TYPE;
    private static final InternalTypeInfo<RowData> ROW = InternalTypeInfo.ofFields(BIGINT, BIGINT, BIGINT, STRING);
    private static final InternalTypeInfo<RowData> PAIR =
            InternalTypeInfo.ofFields(BIGINT, BIGINT, BIGINT, STRING, BIGINT, BIGINT, BIGINT, STRING);
    private static final int TIME = 2;

    @Override
    public RowData row(long number, long timeMs) {
        return GenericRowData.of(KEY, number, timeMs, StringData.fromString(PAYLOAD));
    }

    @Override
    public TypeInformation<RowData> rowType() {
        return ROW;
    }

    @Override
    public KeySelector<RowData, RowData> byKey() {
        return new Key();
    }

    @Override
    public TypeInformation<RowData> keyType() {
        return InternalTypeInfo.ofFields(BIGINT);
    }

    @Override
    public TypeInformation<RowData> resultType() {
        return PAIR;
    }

    @Override
    public TwoInputStreamOperator<RowData, RowData, RowData> operator(long intervalMs) {
        IntervalJoinFunction function = new IntervalJoinFunction(new Condition(), PAIR, new boolean[] {true});
        RowTimeIntervalJoin join =
                new RowTimeIntervalJoin(FlinkJoinType.INNER, 1 - intervalMs, 0, 0, 0, ROW, ROW, function, TIME, TIME);
        return new KeyedCoProcessOperatorWithWatermarkDelay<>(join, join.getMaxOutputDelay());
    }

    /** The key as generated selectors make it. */
    private static final class Key implements KeySelector<RowData, RowData> {
        private static final long serialVersionUID = 1L;

        @Override
        public RowData getKey(RowData row) {
            BinaryRowData key = new BinaryRowData(1);
            BinaryRowWriter writer = new BinaryRowWriter(key);
            writer.writeLong(0, row.getLong(0));
            writer.complete();
            return key;
        }
    }

    /** Makes the condition that lets every pair of the range through. */
    private static final class Condition extends GeneratedJoinCondition {
        private static final long serialVersionUID = 1L;

        private Condition() {
            super("", "", new Object[0]);
        }

        @Override
        public JoinCondition newInstance(ClassLoader loader) {
            return new Counted();
        }
    }

    private static final class Counted extends AbstractRichFunction implements JoinCondition {
        private static final long serialVersionUID = 1L;

        @Override
        public boolean apply(RowData left, RowData right) {
            Probes.joined(JoinForm.pair(left.getLong(1), right.getLong(1)));
            return true;
        }
    }
}
