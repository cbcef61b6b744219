package io.headrace.slimbase.join;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.api.common.serialization.SerializerConfigImpl;
import org.apache.flink.streaming.api.functions.co.ProcessJoinFunction;
import org.apache.flink.streaming.api.operators.TwoInputStreamOperator;
import org.apache.flink.streaming.api.operators.co.IntervalJoinOperator;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The join that reads by range gives what Flink's gives: results, late rows, side outputs, timestamps, over restarts. */
class RangeIntervalJoinOperatorTest {
    private static final TypeInformation<Row> ROW = Types.POJO(Row.class);
    private static final OutputTag<Row> LEFT_LATE = new OutputTag<>("left late", ROW);
    private static final OutputTag<Row> RIGHT_LATE = new OutputTag<>("right late", ROW);
    private static final OutputTag<String> ASIDE = new OutputTag<>("aside", Types.STRING);
    private static final JoinRun.Form<Long, Row, String> FORM = new JoinRun.Form<>(
            step -> new Row(step.key, step.id),
            row -> row.key,
            Types.LONG,
            StringSerializer.INSTANCE,
            text -> text,
            List.of(LEFT_LATE, RIGHT_LATE, ASIDE));

    /** Bounds in ms, and whether they belong to the interval. */
    private enum Bounds {
        AROUND(-25, 25, true, true),
        AFTER(0, 60, true, false),
        BEFORE(-60, -3, false, true),
        LATER(5, 40, false, false),
        SAME(0, 0, true, true),
        EMPTY(3, 3, false, false),
        WIDE(-2_000, 1_500, true, true),
        FOREVER(Long.MIN_VALUE / 2, Long.MAX_VALUE / 2, true, true);

        private final long lower;
        private final long upper;
        private final boolean lowerInclusive;
        private final boolean upperInclusive;

        Bounds(long lower, long upper, boolean lowerInclusive, boolean upperInclusive) {
            this.lower = lower;
            this.upper = upper;
            this.lowerInclusive = lowerInclusive;
            this.upperInclusive = upperInclusive;
        }

        private TwoInputStreamOperator<Row, Row, String> stock() {
            return new IntervalJoinOperator<Long, Row, Row, String>(
                    lower, upper, lowerInclusive, upperInclusive, LEFT_LATE, RIGHT_LATE, serializer(), serializer(), new Pairs());
        }

        private TwoInputStreamOperator<Row, Row, String> ours() {
            return new RangeIntervalJoinOperator<Long, Row, Row, String>(
                    lower, upper, lowerInclusive, upperInclusive, LEFT_LATE, RIGHT_LATE, serializer(), serializer(), new Pairs());
        }
    }

    /** A row of either input. */
    public static final class Row {
        public long key;
        public long id;

        public Row() {}

        Row(long key, long id) {
            this.key = key;
            this.id = id;
        }

        @Override
        public String toString() {
            return key + ":" + id;
        }
    }

    /** Says what it was called with, and some of it aside. */
    private static final class Pairs extends ProcessJoinFunction<Row, Row, String> {
        private static final long serialVersionUID = 1L;

        @Override
        public void processElement(
                Row left, Row right, Context context, Collector<String> out) {
            out.collect(left + " " + right + " " + context.getLeftTimestamp() + " " + context.getRightTimestamp() + " " + context.getTimestamp());
            if ((left.id + right.id) % 11 == 0) {
                context.output(ASIDE, left.id + "+" + right.id);
            }
        }
    }

    private static TypeSerializer<Row> serializer() {
        return ROW.createSerializer(new SerializerConfigImpl());
    }

    private static final List<Script> SCRIPTS = List.of(
            Script.random(1, 1_500, 5, 1_700_000_000_000L, 60, 0),
            // Around 1970, so that bounds and times are negative, too.
            Script.random(2, 1_000, 3, -500, 40, 0),
            Script.random(3, 1_500, 7, 1_700_000_000_000L, 60, 4));

    /** What Flink's operator gives for each script. */
    private static final Map<Bounds, List<List<List<String>>>> EXPECTED = new EnumMap<>(Bounds.class);

    private static List<List<List<String>>> expected(Bounds bounds) throws Exception {
        if (!EXPECTED.containsKey(bounds)) {
            List<List<List<String>>> outputs = new ArrayList<>();
            for (Script script : SCRIPTS) {
                outputs.add(new JoinRun<>(FORM, List.of(Backends.HASHMAP), List.of(bounds::stock)).play(script));
                int lines = outputs.get(outputs.size() - 1).stream().mapToInt(List::size).sum();
                assertThat(lines).isGreaterThan(bounds == Bounds.EMPTY ? 10 : 100);
            }
            EXPECTED.put(bounds, outputs);
        }
        return EXPECTED.get(bounds);
    }

    private static void same(List<Backends> backends, Bounds bounds, List<Supplier<TwoInputStreamOperator<Row, Row, String>>> operators)
            throws Exception {
        List<List<List<String>>> expected = expected(bounds);
        for (int i = 0; i < SCRIPTS.size(); i++) {
            assertThat(new JoinRun<>(FORM, backends, operators).play(SCRIPTS.get(i))).isEqualTo(expected.get(i));
        }
    }

    /** Same as Flink's operator on hashmap, on every backend, for every kind of bounds. */
    @ParameterizedTest
    @EnumSource
    void outputIsFlinks(Backends backend) throws Exception {
        for (Bounds bounds : backend == Backends.ROCKSDB ? EnumSet.of(Bounds.AROUND, Bounds.WIDE) : EnumSet.allOf(Bounds.class)) {
            same(List.of(backend), bounds, List.of(bounds::ours));
        }
    }

    /** Flink's state is ours: a job goes from one operator to the other and back at its restarts. */
    @ParameterizedTest
    @EnumSource
    void stateIsFlinks(Backends backend) throws Exception {
        same(List.of(backend), Bounds.AROUND, List.of(Bounds.AROUND::stock, Bounds.AROUND::ours));
        same(List.of(backend), Bounds.WIDE, List.of(Bounds.WIDE::ours, Bounds.WIDE::stock));
    }

    /** From Flink's join on rocksdb to this one on SlimBase, and back. */
    @Test
    void backendAndOperatorMayChangeTogether() throws Exception {
        same(List.of(Backends.ROCKSDB, Backends.SLIMBASE), Bounds.WIDE, List.of(Bounds.WIDE::stock, Bounds.WIDE::ours));
    }
}
