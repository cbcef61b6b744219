package io.headrace.slimbase.join;

import static org.assertj.core.api.Assertions.assertThat;

import io.headrace.slimbase.SlimBaseOptions;
import java.util.List;
import java.util.function.Supplier;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.co.KeyedCoProcessFunction;
import org.apache.flink.streaming.api.operators.AbstractUdfStreamOperator;
import org.apache.flink.streaming.api.operators.TwoInputStreamOperator;
import org.apache.flink.streaming.api.transformations.TwoInputTransformation;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.operators.join.FlinkJoinType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** SQL interval joins that were made to read by range give what Flink's give: results, null padding, late rows, over restarts. */
class SqlIntervalJoinsTest {
    private static final List<Script> SCRIPTS = List.of(
            Script.random(1, 1_500, 5, 1_700_000_000_000L, 60, 0),
            Script.random(3, 1_500, 7, 1_700_000_000_000L, 60, 4));
    /** Around 1970: how Flink's join forgets negative times depends on the backend's order, so it is compared on the same one. */
    private static final Script AROUND_ZERO = Script.random(2, 1_200, 3, -500, 40, 0);

    /** Joins of one type, time and bounds. */
    private enum Join {
        INNER(FlinkJoinType.INNER, true, -25, 25),
        INNER_WIDE(FlinkJoinType.INNER, true, -2_000, 1_500),
        INNER_BEFORE(FlinkJoinType.INNER, true, -90, -15),
        LEFT(FlinkJoinType.LEFT, true, -40, 10),
        LEFT_BEFORE(FlinkJoinType.LEFT, true, -90, -15),
        RIGHT(FlinkJoinType.RIGHT, true, 0, 60),
        FULL(FlinkJoinType.FULL, true, -30, 20),
        FULL_AFTER(FlinkJoinType.FULL, true, 5, 40),
        FULL_WIDE(FlinkJoinType.FULL, true, -600, 500),
        INNER_PROCESSING(FlinkJoinType.INNER, false, -50, 50),
        FULL_PROCESSING(FlinkJoinType.FULL, false, -5, 0);

        private final FlinkJoinType type;
        private final boolean isEventTime;
        private final long lower;
        private final long upper;

        Join(FlinkJoinType type, boolean isEventTime, long lower, long upper) {
            this.type = type;
            this.isEventTime = isEventTime;
            this.lower = lower;
            this.upper = upper;
        }

        private TwoInputStreamOperator<RowData, RowData, RowData> flinks() {
            KeyedCoProcessFunction<RowData, RowData, RowData, RowData> function =
                    isEventTime ? SqlJoins.eventTime(type, lower, upper, 3) : SqlJoins.processingTime(type, lower, upper, 3);
            return SqlJoins.operator(function);
        }

        private TwoInputStreamOperator<RowData, RowData, RowData> ours() {
            TwoInputStreamOperator<RowData, RowData, RowData> operator = flinks();
            assertThat(SqlIntervalJoins.readByRange(operator)).isTrue();
            return operator;
        }
    }

    private static List<List<String>> play(
            Script script, List<Backends> backends, List<Supplier<TwoInputStreamOperator<RowData, RowData, RowData>>> operators) throws Exception {
        return new JoinRun<>(SqlJoins.FORM, backends, operators).play(script);
    }

    /** Same as Flink's on hashmap, on every backend, for every kind of join. */
    @ParameterizedTest
    @EnumSource
    void outputIsFlinks(Join join) throws Exception {
        for (Script script : SCRIPTS) {
            List<List<String>> expected = play(script, List.of(Backends.HASHMAP), List.of(join::flinks));
            assertThat(expected.stream().mapToInt(List::size).sum()).isGreaterThan(300);
            if (join.type != FlinkJoinType.INNER && join != Join.FULL_WIDE) {
                // In the wide one every row finds another.
                assertThat(expected.stream().flatMap(List::stream).filter(line -> line.contains("null")).count()).isGreaterThan(5);
            }
            for (Backends backend : Backends.values()) {
                if (backend != Backends.ROCKSDB || join == Join.FULL) {
                    assertThat(play(script, List.of(backend), List.of(join::ours))).as("%s", backend).isEqualTo(expected);
                }
            }
        }
    }

    /** Times of both signs. */
    @ParameterizedTest
    @EnumSource
    void timesBefore1970(Join join) throws Exception {
        for (Backends backend : List.of(Backends.SLIMBASE, Backends.HASHMAP)) {
            assertThat(play(AROUND_ZERO, List.of(backend), List.of(join::ours)))
                    .isEqualTo(play(AROUND_ZERO, List.of(backend), List.of(join::flinks)));
        }
    }

    /** State is Flink's: a job goes on from a savepoint with the other join, and on another backend. */
    @Test
    void stateIsFlinks() throws Exception {
        Script script = SCRIPTS.get(1);
        for (Join join : List.of(Join.INNER_WIDE, Join.FULL, Join.FULL_WIDE)) {
            List<List<String>> expected = play(script, List.of(Backends.HASHMAP), List.of(join::flinks));
            assertThat(play(script, List.of(Backends.SLIMBASE), List.of(join::flinks, join::ours))).isEqualTo(expected);
            assertThat(play(script, List.of(Backends.ROCKSDB, Backends.SLIMBASE), List.of(join::flinks, join::ours))).isEqualTo(expected);
        }
    }

    /** All joins that a sink reads from are found, each once, unless the option is off. */
    @Test
    void joinsOfAnEnvironmentAreFound() {
        TwoInputStreamOperator<RowData, RowData, RowData> operator = Join.FULL.flinks();
        Configuration off = new Configuration();
        off.set(SlimBaseOptions.INTERVAL_JOIN_RANGE_READ, false);
        assertThat(SqlIntervalJoins.apply(environment(off, operator))).isZero();
        assertThat(((AbstractUdfStreamOperator<?, ?>) operator).getUserFunction()).isNotInstanceOf(RangeSqlJoin.class);
        StreamExecutionEnvironment environment = environment(new Configuration(), operator);
        assertThat(SqlIntervalJoins.apply(environment)).isEqualTo(1);
        assertThat(((AbstractUdfStreamOperator<?, ?>) operator).getUserFunction()).isInstanceOf(RangeSqlJoin.class);
        assertThat(SqlIntervalJoins.apply(environment)).isZero();
    }

    private static StreamExecutionEnvironment environment(
            Configuration configuration, TwoInputStreamOperator<RowData, RowData, RowData> operator) {
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment(configuration);
        DataStream<RowData> rows = environment.fromSequence(1, 1).map(number -> (RowData) null).returns(RowData.class);
        TwoInputTransformation<RowData, RowData, RowData> join = new TwoInputTransformation<>(
                rows.getTransformation(), rows.getTransformation(), "join", operator, rows.getType(), 1);
        new DataStream<>(environment, join).map(RowData::getArity).returns(Types.INT).print();
        return environment;
    }
}
