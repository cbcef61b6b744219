package io.headrace.slimbase.join;

import java.util.List;
import org.apache.flink.api.common.functions.AbstractRichFunction;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.streaming.api.functions.co.KeyedCoProcessFunction;
import org.apache.flink.streaming.api.operators.TwoInputStreamOperator;
import org.apache.flink.streaming.api.operators.co.KeyedCoProcessOperator;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.binary.BinaryRowData;
import org.apache.flink.table.data.writer.BinaryRowWriter;
import org.apache.flink.table.runtime.generated.GeneratedJoinCondition;
import org.apache.flink.table.runtime.generated.JoinCondition;
import org.apache.flink.table.runtime.operators.join.FlinkJoinType;
import org.apache.flink.table.runtime.operators.join.KeyedCoProcessOperatorWithWatermarkDelay;
import org.apache.flink.table.runtime.operators.join.interval.IntervalJoinFunction;
import org.apache.flink.table.runtime.operators.join.interval.ProcTimeIntervalJoin;
import org.apache.flink.table.runtime.operators.join.interval.RowTimeIntervalJoin;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.table.types.logical.BigIntType;

/** Operators of SQL interval joins as Flink's planner makes them; rows are (key, id, time), all BIGINT. */
final class SqlJoins {
    private static final BigIntType BIGINT = new BigIntType();
    private static final InternalTypeInfo<RowData> ROW = InternalTypeInfo.ofFields(BIGINT, BIGINT, BIGINT);
    private static final InternalTypeInfo<RowData> PAIR = InternalTypeInfo.ofFields(BIGINT, BIGINT, BIGINT, BIGINT, BIGINT, BIGINT);

    static final JoinRun.Form<RowData, RowData, RowData> FORM = new JoinRun.Form<>(
            step -> GenericRowData.of(step.key, step.id, step.time),
            new Key(),
            InternalTypeInfo.ofFields(BIGINT),
            PAIR.createSerializer(new org.apache.flink.api.common.serialization.SerializerConfigImpl()),
            SqlJoins::print,
            List.of());

    private SqlJoins() {}

    /** A join in event time of left times within (lower, upper) of right ones, both included. */
    static KeyedCoProcessFunction<RowData, RowData, RowData, RowData> eventTime(FlinkJoinType type, long lower, long upper, long modulus) {
        return new RowTimeIntervalJoin(type, lower, upper, 0, 0, ROW, ROW, function(modulus), 2, 2);
    }

    /** The same in processing time. */
    static KeyedCoProcessFunction<RowData, RowData, RowData, RowData> processingTime(
            FlinkJoinType type, long lower, long upper, long modulus) {
        return new ProcTimeIntervalJoin(type, lower, upper, 0, ROW, ROW, function(modulus));
    }

    /** The operator that the planner puts around the function. */
    static TwoInputStreamOperator<RowData, RowData, RowData> operator(KeyedCoProcessFunction<RowData, RowData, RowData, RowData> function) {
        return function instanceof RowTimeIntervalJoin
                ? new KeyedCoProcessOperatorWithWatermarkDelay<>(function, ((RowTimeIntervalJoin) function).getMaxOutputDelay())
                : new KeyedCoProcessOperator<>(function);
    }

    private static IntervalJoinFunction function(long modulus) {
        return new IntervalJoinFunction(new Condition(modulus), PAIR, new boolean[] {true});
    }

    private static String print(RowData pair) {
        StringBuilder text = new StringBuilder(pair.getRowKind().shortString());
        for (int i = 0; i < pair.getArity(); i++) {
            text.append(' ').append(pair.isNullAt(i) ? "null" : Long.toString(pair.getLong(i)));
        }
        return text.toString();
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

    /** Makes the condition that the two ids' sum is no multiple of the modulus. */
    private static final class Condition extends GeneratedJoinCondition {
        private static final long serialVersionUID = 1L;
        private final long modulus;

        private Condition(long modulus) {
            super("", "", new Object[0]);
            this.modulus = modulus;
        }

        @Override
        public JoinCondition newInstance(ClassLoader loader) {
            return new NoMultiple(modulus);
        }
    }

    private static final class NoMultiple extends AbstractRichFunction implements JoinCondition {
        private static final long serialVersionUID = 1L;
        private final long modulus;

        private NoMultiple(long modulus) {
            this.modulus = modulus;
        }

        @Override
        public boolean apply(RowData left, RowData right) {
            return (left.getLong(1) + right.getLong(1)) % modulus != 0;
        }
    }
}
