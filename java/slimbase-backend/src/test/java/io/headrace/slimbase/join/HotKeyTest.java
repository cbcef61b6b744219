package io.headrace.slimbase.join;

import static org.assertj.core.api.Assertions.assertThat;

import io.headrace.slimbase.OrderedMapState;
import java.io.IOException;
import java.util.Iterator;
import java.util.Random;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.TypeSerializerSingleton;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.streaming.api.functions.co.ProcessJoinFunction;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.api.operators.co.KeyedCoProcessOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.util.KeyedTwoInputStreamOperatorTestHarness;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.runtime.operators.join.FlinkJoinType;
import org.apache.flink.util.Collector;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A key with 100,000 rows: a row of the other side reads its range and nothing else. */
class HotKeyTest {
    private static final int ROWS = 100_000;
    private static final int PROBES = 200;
    /** Rows lie 10 ms apart, so that a probe joins with 1 % of them. */
    private static final long STEP_MS = 10;

    private static final long INTERVAL_MS = ROWS / 100 * STEP_MS;
    /** What is read for the rows in range, of other rows' too, over the rows in range. */
    private static final double READ_PER_ROW_MAX = 1.1;

    private static long decoded;
    private static long visited;

    /** Rows decoded and map entries visited, over rows in range, are at most 1.1 for random times of the probe. */
    @ParameterizedTest
    @EnumSource(names = {"SLIMBASE", "SLIMBASE_PURE_JAVA"})
    void onlyTheRangeIsRead(Backends backend) throws Exception {
        CountingJoin join = new CountingJoin();
        try (var harness = new KeyedTwoInputStreamOperatorTestHarness<>(join, row -> 1L, row -> 1L, Types.LONG, 8, 1, 0)) {
            harness.setStateBackend(backend.make());
            harness.setup(LongSerializer.INSTANCE);
            harness.open();
            assertThat(join.readsRanges()).isTrue();
            for (long row = 0; row < ROWS; row++) {
                harness.processElement1(new StreamRecord<>(row, row * STEP_MS));
            }
            Random random = new Random(1);
            for (int probe = 0; probe < PROBES; probe++) {
                harness.getOutput().clear();
                decoded = 0;
                visited = 0;
                long time = INTERVAL_MS + random.nextInt((int) (ROWS * STEP_MS - INTERVAL_MS));
                harness.processElement2(new StreamRecord<>(-1L, time));
                long inRange = harness.getOutput().size();
                assertThat(inRange).isBetween(ROWS / 100L, ROWS / 100 + 1L);
                assertThat(decoded).isBetween(inRange, (long) (inRange * READ_PER_ROW_MAX));
                assertThat(visited).isBetween(inRange, (long) (inRange * READ_PER_ROW_MAX));
            }
        }
    }

    /** The same of a SQL join: besides the range, the first entry of the buffer may be looked at, since it may have expired. */
    @ParameterizedTest
    @EnumSource(names = {"SLIMBASE", "SLIMBASE_PURE_JAVA"})
    void onlyTheRangeIsReadInSql(Backends backend) throws Exception {
        CountingSqlJoin join = new CountingSqlJoin();
        try (var harness = new KeyedTwoInputStreamOperatorTestHarness<>(
                new KeyedCoProcessOperator<>(join), SqlJoins.FORM.key, SqlJoins.FORM.key, SqlJoins.FORM.keyType, 8, 1, 0)) {
            harness.setStateBackend(backend.make());
            harness.setup(SqlJoins.FORM.results);
            harness.open();
            assertThat(join.readsRanges()).isTrue();
            for (long row = 0; row < ROWS; row++) {
                harness.processElement1(new StreamRecord<>(GenericRowData.of(1L, row, row * STEP_MS + 1)));
            }
            Random random = new Random(1);
            for (int probe = 0; probe < PROBES; probe++) {
                harness.getOutput().clear();
                visited = 0;
                long time = INTERVAL_MS + random.nextInt((int) (ROWS * STEP_MS - INTERVAL_MS));
                harness.processElement2(new StreamRecord<>(GenericRowData.of(1L, -1L, time)));
                long inRange = harness.getOutput().size();
                assertThat(inRange).isBetween(ROWS / 100L, ROWS / 100 + 1L);
                assertThat(visited).isBetween(inRange, (long) (inRange * READ_PER_ROW_MAX));
            }
            // The first timer: half of the rows have expired and go, one is looked at.
            visited = 0;
            long middle = ROWS * STEP_MS / 2;
            harness.processWatermark1(new Watermark(middle));
            harness.processWatermark2(new Watermark(middle));
            assertThat(visited).isBetween(ROWS / 2 - ROWS / 100 - 10L, ROWS / 2 + 10L);
        }
    }

    /** The entries of a state, with each one that a walk goes over counted. */
    private static <V> OrderedMapState<Long, V> counted(OrderedMapState<Long, V> ordered) {
        return (from, to) -> counted(ordered.range(from, to));
    }

    private static <T> Iterable<T> counted(Iterable<T> entries) {
        return () -> counted(entries.iterator());
    }

    private static <T> Iterator<T> counted(Iterator<T> entries) {
        return new Iterator<>() {
            @Override
            public boolean hasNext() {
                return entries.hasNext();
            }

            @Override
            public T next() {
                visited++;
                return entries.next();
            }

            @Override
            public void remove() {
                entries.remove();
            }
        };
    }

    /** Counts the entries that the walk goes over. */
    private static final class CountingSqlJoin extends RangeSqlJoin {
        private static final long serialVersionUID = 1L;

        private CountingSqlJoin() {
            super(SqlJoins.eventTime(FlinkJoinType.INNER, -INTERVAL_MS, 0, Long.MAX_VALUE));
        }

        @Override
        <V> OrderedMapState<Long, V> ordered(MapState<Long, V> state) {
            return counted(super.ordered(state));
        }
    }

    /** Counts the entries that the walk goes over and the left rows that are decoded. */
    private static final class CountingJoin extends RangeIntervalJoinOperator<Long, Long, Long, Long> {
        private static final long serialVersionUID = 1L;

        private CountingJoin() {
            super(0, INTERVAL_MS, true, true, null, null, new CountingSerializer(), LongSerializer.INSTANCE, new Left());
        }

        @Override
        <V> OrderedMapState<Long, V> ordered(MapState<Long, V> state) {
            return counted(super.ordered(state));
        }
    }

    /** Gives the left row. */
    private static final class Left extends ProcessJoinFunction<Long, Long, Long> {
        private static final long serialVersionUID = 1L;

        @Override
        public void processElement(Long left, Long right, Context context, Collector<Long> out) {
            out.collect(left);
        }
    }

    /** Longs, counted when read. */
    private static final class CountingSerializer extends TypeSerializerSingleton<Long> {
        private static final long serialVersionUID = 1L;

        @Override
        public Long deserialize(DataInputView source) throws IOException {
            decoded++;
            return source.readLong();
        }

        @Override
        public Long deserialize(Long reuse, DataInputView source) throws IOException {
            return deserialize(source);
        }

        @Override
        public void serialize(Long row, DataOutputView target) throws IOException {
            target.writeLong(row);
        }

        @Override
        public void copy(DataInputView source, DataOutputView target) throws IOException {
            target.writeLong(source.readLong());
        }

        @Override
        public boolean isImmutableType() {
            return true;
        }

        @Override
        public Long createInstance() {
            return 0L;
        }

        @Override
        public Long copy(Long from) {
            return from;
        }

        @Override
        public Long copy(Long from, Long reuse) {
            return from;
        }

        @Override
        public int getLength() {
            return Long.BYTES;
        }

        @Override
        public TypeSerializerSnapshot<Long> snapshotConfiguration() {
            return new LongSerializer.LongSerializerSnapshot();
        }
    }
}
