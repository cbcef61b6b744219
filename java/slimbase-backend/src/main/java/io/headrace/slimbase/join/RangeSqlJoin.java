package io.headrace.slimbase.join;

import io.headrace.slimbase.OrderedMapState;
import java.util.List;
import java.util.function.LongSupplier;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RuntimeContext;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.streaming.api.functions.co.KeyedCoProcessFunction;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.operators.join.interval.RowTimeIntervalJoin;
import org.apache.flink.util.Collector;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Flink's SQL interval join (event or processing time) over buffers that read by range, where the state backend offers it. The join itself, its
 * state and its timers are Flink's; on other backends everything is.
 */
class RangeSqlJoin extends KeyedCoProcessFunction<RowData, RowData, RowData, RowData> {
    private static final long serialVersionUID = 1L;
    private static final Logger LOG = LoggerFactory.getLogger(RangeSqlJoin.class);

    private final KeyedCoProcessFunction<RowData, RowData, RowData, RowData> flinks;
    private transient ExpiringBuffer<?> left;
    private transient ExpiringBuffer<?> right;
    private transient RowTime timeOfLeft;
    private transient RowTime timeOfRight;

    /** Flink's RowTimeIntervalJoin or ProcTimeIntervalJoin. */
    RangeSqlJoin(KeyedCoProcessFunction<RowData, RowData, RowData, RowData> flinks) {
        this.flinks = flinks;
    }

    /** Whether the state backend offers range reads, so that they are used. */
    boolean readsRanges() {
        return left != null;
    }

    @Override
    public void setRuntimeContext(RuntimeContext context) {
        super.setRuntimeContext(context);
        flinks.setRuntimeContext(context);
    }

    @Override
    public void open(OpenContext context) throws Exception {
        flinks.open(context);
        if (SqlJoinFields.areKnown()) {
            useRanges(SqlJoinFields.get());
        }
        LOG.info("interval join reads {}", readsRanges() ? "by range" : "all times of a key: the state backend has no range read");
    }

    private void useRanges(SqlJoinFields fields) throws IllegalAccessException {
        ExpiringBuffer<List<?>> ofLeft = buffer(fields, fields.left, fields.right);
        ExpiringBuffer<List<?>> ofRight = buffer(fields, fields.right, fields.left);
        if (ofLeft == null || ofRight == null) {
            return;
        }
        boolean isEventTime = flinks instanceof RowTimeIntervalJoin;
        timeOfLeft = isEventTime
                ? new EventTime(fields.leftTimeIndex.getInt(flinks))
                : new OperatorTime(() -> SqlJoinFields.longOf(fields.left.operatorTime, flinks));
        timeOfRight = isEventTime
                ? new EventTime(fields.rightTimeIndex.getInt(flinks))
                : new OperatorTime(() -> SqlJoinFields.longOf(fields.right.operatorTime, flinks));
        fields.left.cache.set(flinks, ofLeft);
        fields.right.cache.set(flinks, ofRight);
        left = ofLeft;
        right = ofRight;
    }

    @SuppressWarnings("unchecked")
    private <V> ExpiringBuffer<V> buffer(SqlJoinFields fields, SqlJoinFields.OfInput input, SqlJoinFields.OfInput other)
            throws IllegalAccessException {
        MapState<Long, V> state = (MapState<Long, V>) input.cache.get(flinks);
        if (state.getClass() != fields.stateBehind.getDeclaringClass()) {
            return null;
        }
        OrderedMapState<Long, V> ordered = ordered((MapState<Long, V>) fields.stateBehind.get(state));
        return ordered == null ? null : new ExpiringBuffer<>(
                state,
                ordered,
                () -> SqlJoinFields.longOf(input.expirationTime, flinks),
                SqlJoinFields.longOf(input.relativeSize, flinks),
                SqlJoinFields.longOf(other.relativeSize, flinks));
    }

    /** The state's range reads; null when it has none. */
    @SuppressWarnings("unchecked")
    <V> OrderedMapState<Long, V> ordered(MapState<Long, V> state) {
        return state instanceof OrderedMapState ? (OrderedMapState<Long, V>) state : null;
    }

    @Override
    public void processElement1(RowData row, Context context, Collector<RowData> out) throws Exception {
        if (right != null) {
            right.forRow(timeOfLeft.of(row));
        }
        flinks.processElement1(row, context, out);
    }

    @Override
    public void processElement2(RowData row, Context context, Collector<RowData> out) throws Exception {
        if (left != null) {
            left.forRow(timeOfRight.of(row));
        }
        flinks.processElement2(row, context, out);
    }

    @Override
    public void onTimer(long timestamp, OnTimerContext context, Collector<RowData> out) throws Exception {
        if (left != null) {
            left.forTimer();
            right.forTimer();
        }
        flinks.onTimer(timestamp, context, out);
    }

    @Override
    public boolean useInterruptibleTimers(ReadableConfig config) {
        return flinks.useInterruptibleTimers(config);
    }

    @Override
    public void close() throws Exception {
        flinks.close();
    }

    /** The time of the row that is being joined. */
    private abstract static class RowTime implements LongSupplier {
        abstract RowTime of(RowData row);
    }

    /** A column of the row. */
    private static final class EventTime extends RowTime {
        private final int index;
        private RowData row;

        private EventTime(int index) {
            this.index = index;
        }

        @Override
        RowTime of(RowData now) {
            row = now;
            return this;
        }

        @Override
        public long getAsLong() {
            return row.getLong(index);
        }
    }

    /** What the join took for now when it began with the row. */
    private static final class OperatorTime extends RowTime {
        private final LongSupplier time;

        private OperatorTime(LongSupplier time) {
            this.time = time;
        }

        @Override
        RowTime of(RowData now) {
            return this;
        }

        @Override
        public long getAsLong() {
            return time.getAsLong();
        }
    }
}
