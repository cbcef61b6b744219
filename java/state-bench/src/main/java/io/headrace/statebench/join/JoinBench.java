package io.headrace.statebench.join;

import io.headrace.statebench.Arguments;
import io.headrace.statebench.Json;
import java.io.Serializable;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.api.transformations.TwoInputTransformation;

/**
 * One fork of the interval join's bench: a job in a MiniCluster whose one key has many left rows; then right rows come, each of which joins
 * with a share of them. Prints one JSON object: how long each right row took in the operator.
 *
 * <p>`--operator CLASS|sql [--sql-by-range 1] --rows N --in-range N --probes N --checked N --warm-ms N --measure-ms N --folder PATH --managed-bytes N --conf KEY=VALUE ...`. The
 * operator's class has the constructor of Flink's IntervalJoinOperator; `sql` is SQL's join, by range as the platform makes it when told. The first `checked` right rows are the same in every fork, and so must
 * be the hash of their results. Measured are at least `probes` right rows and `measure-ms`, after `warm-ms`.
 */
public final class JoinBench {
    private static final long FIRST_MS = 1_700_000_000_000L;
    /** Left rows lie this far apart. */
    private static final long STEP_MS = 10;

    private static final TypeInformation<Tuple2<Long, Long>> NUMBER_AND_TIME = Types.TUPLE(Types.LONG, Types.LONG);

    private JoinBench() {}

    /** Measures as told and prints the result. */
    public static void main(String[] words) throws Exception {
        Arguments arguments = new Arguments(words);
        Probes.plan(arguments);
        String operator = arguments.required("operator");
        if (operator.equals("sql")) {
            submit(arguments, new SqlJoin());
        } else {
            submit(arguments, new StreamJoin(operator));
        }
        System.out.println(Json.render(report(Probes.await())));
        System.out.flush();
        // The job has no end of its own.
        System.exit(0);
    }

    private static Map<String, Object> report(Probes.Result result) {
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("p50_us", result.percentileUs(0.5));
        report.put("p99_us", result.percentileUs(0.99));
        report.put("max_us", result.percentileUs(1));
        report.put("mean_cpu_us", result.meanCpuUs());
        report.put("probes", result.count());
        report.put("warm_probes", result.warmCount());
        report.put("rows_in_range", result.rowsPerProbe());
        report.put("buffer_row_us", result.bufferRowUs());
        report.put("check", Long.toHexString(result.check()));
        return report;
    }

    private static <R, K, T> void submit(Arguments arguments, JoinForm<R, K, T> form) throws Exception {
        Configuration configuration = Configuration.fromMap(arguments.pairs("conf"));
        configuration.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, new MemorySize(arguments.number("managed-bytes", 1L << 30)));
        configuration.setString("io.tmp.dirs", arguments.required("folder"));
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(1, configuration);
        long rows = arguments.number("rows", 100_000);
        long inRange = arguments.number("in-range", rows / 100);
        DataStream<R> left = rows(environment, form, rows, "left", number -> number);
        DataStream<R> right = rows(
                environment,
                form,
                Long.MAX_VALUE,
                "right",
                number -> {
                    Probes.awaitRows();
                    return Probes.place(number, inRange, rows);
                });
        TwoInputTransformation<R, R, T> join = new TwoInputTransformation<>(
                left.keyBy(form.byKey(), form.keyType()).getTransformation(),
                right.keyBy(form.byKey(), form.keyType()).getTransformation(),
                "join",
                new TimedFactory<>(form.operator(inRange * STEP_MS)),
                form.resultType(),
                1);
        join.setStateKeySelectors(form.byKey(), form.byKey());
        join.setStateKeyType(form.keyType());
        environment.addOperator(join);
        new DataStream<>(environment, join).sinkTo(new DiscardingSink<>());
        if (arguments.number("sql-by-range", 0) == 1) {
            readByRange(environment);
        }
        environment.executeAsync("interval join");
    }

    /** As the platform does with each SQL job; the backend's classes are not on the class path of every fork. */
    private static void readByRange(StreamExecutionEnvironment environment) throws Exception {
        Object joins = Class.forName("io.headrace.slimbase.join.SqlIntervalJoins")
                .getMethod("apply", StreamExecutionEnvironment.class)
                .invoke(null, environment);
        if (!joins.equals(1)) {
            throw new IllegalStateException("join was not made to read by range, joins=" + joins);
        }
    }

    private static <R> DataStream<R> rows(
            StreamExecutionEnvironment environment, JoinForm<R, ?, ?> form, long count, String name, PlaceOf place) {
        DataGeneratorSource<Tuple2<Long, Long>> numbers =
                new DataGeneratorSource<>(number -> Tuple2.of(number, FIRST_MS + place.of(number) * STEP_MS), count, NUMBER_AND_TIME);
        WatermarkStrategy<Tuple2<Long, Long>> times =
                WatermarkStrategy.<Tuple2<Long, Long>>noWatermarks().withTimestampAssigner((made, before) -> made.f1);
        return environment.fromSource(numbers, times, name).map(made -> form.row(made.f0, made.f1), form.rowType());
    }

    /** Says between which left rows a row lies. */
    private interface PlaceOf extends Serializable {
        long of(long number) throws Exception;
    }
}
