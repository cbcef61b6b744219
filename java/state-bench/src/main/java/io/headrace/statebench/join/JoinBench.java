package io.headrace.statebench.join;

import io.headrace.statebench.Arguments;
import io.headrace.statebench.Json;
import java.lang.reflect.Constructor;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SerializerConfigImpl;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.co.ProcessJoinFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.api.operators.TwoInputStreamOperator;
import org.apache.flink.streaming.api.transformations.TwoInputTransformation;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/**
 * One fork of the interval join's bench: a job in a MiniCluster whose one key has many left rows; then right rows come, each of which joins
 * with a share of them. Prints one JSON object: how long each right row took in the operator.
 *
 * <p>`--operator CLASS --rows N --in-range N --probes N --checked N --warm-ms N --measure-ms N --folder PATH --managed-bytes N --conf KEY=VALUE ...`. The
 * operator's class has the constructor of Flink's IntervalJoinOperator. The first `checked` right rows are the same in every fork, and so must
 * be the hash of their results. Measured are at least `probes` right rows and `measure-ms`, after `warm-ms`.
 */
public final class JoinBench {
    private static final long KEY = 7;
    private static final long FIRST_MS = 1_700_000_000_000L;
    /** Left rows lie this far apart. */
    private static final long STEP_MS = 10;

    private static final String PAYLOAD = "x".repeat(100);
    private static final TypeInformation<Tuple3<Long, Long, String>> ROW = Types.TUPLE(Types.LONG, Types.LONG, Types.STRING);
    private static final KeySelector<Tuple3<Long, Long, String>, Long> BY_KEY = row -> row.f0;

    private JoinBench() {}

    /** Measures as told and prints the result. */
    public static void main(String[] words) throws Exception {
        Arguments arguments = new Arguments(words);
        Probes.plan(arguments);
        submit(arguments);
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

    private static void submit(Arguments arguments) throws Exception {
        Configuration configuration = Configuration.fromMap(arguments.pairs("conf"));
        configuration.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, new MemorySize(arguments.number("managed-bytes", 1L << 30)));
        configuration.setString("io.tmp.dirs", arguments.required("folder"));
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(1, configuration);
        long rows = arguments.number("rows", 100_000);
        long interval = arguments.number("in-range", rows / 100) * STEP_MS;
        DataStream<Tuple3<Long, Long, String>> left = rows(environment, rows, row -> Tuple3.of(KEY, row, PAYLOAD), "left", step -> step);
        DataStream<Tuple3<Long, Long, String>> right = rows(
                environment,
                Long.MAX_VALUE,
                row -> {
                    Probes.awaitRows();
                    return Tuple3.of(KEY, row, PAYLOAD);
                },
                "right",
                row -> Probes.place(row, interval / STEP_MS, rows));
        TwoInputTransformation<Tuple3<Long, Long, String>, Tuple3<Long, Long, String>, Long> join = new TwoInputTransformation<>(
                left.keyBy(BY_KEY).getTransformation(),
                right.keyBy(BY_KEY).getTransformation(),
                "join",
                new TimedFactory<>(operator(arguments, interval)),
                Types.LONG,
                1);
        join.setStateKeySelectors(BY_KEY, BY_KEY);
        join.setStateKeyType(Types.LONG);
        environment.addOperator(join);
        new DataStream<>(environment, join).sinkTo(new DiscardingSink<>());
        environment.executeAsync("interval join");
    }

    private static DataStream<Tuple3<Long, Long, String>> rows(
            StreamExecutionEnvironment environment, long count, RowOf row, String name, PlaceOf place) {
        DataGeneratorSource<Tuple3<Long, Long, String>> source = new DataGeneratorSource<>(row::make, count, ROW);
        WatermarkStrategy<Tuple3<Long, Long, String>> times = WatermarkStrategy.<Tuple3<Long, Long, String>>noWatermarks()
                .withTimestampAssigner((made, before) -> FIRST_MS + place.of(made.f1) * STEP_MS);
        return environment.fromSource(source, times, name);
    }

    @SuppressWarnings("unchecked")
    private static TwoInputStreamOperator<Tuple3<Long, Long, String>, Tuple3<Long, Long, String>, Long> operator(
            Arguments arguments, long interval) throws Exception {
        Constructor<?> constructor = Class.forName(arguments.required("operator"))
                .getConstructor(
                        long.class,
                        long.class,
                        boolean.class,
                        boolean.class,
                        OutputTag.class,
                        OutputTag.class,
                        TypeSerializer.class,
                        TypeSerializer.class,
                        ProcessJoinFunction.class);
        TypeSerializer<?> serializer = ROW.createSerializer(new SerializerConfigImpl());
        // Without its first ms the interval has just the rows of `in-range`.
        return (TwoInputStreamOperator<Tuple3<Long, Long, String>, Tuple3<Long, Long, String>, Long>)
                constructor.newInstance(0L, interval, true, false, null, null, serializer, serializer.duplicate(), new Ids());
    }

    /** Makes the row of a number. */
    private interface RowOf extends java.io.Serializable {
        Tuple3<Long, Long, String> make(Long number) throws Exception;
    }

    /** Says between which left rows a row lies. */
    private interface PlaceOf extends java.io.Serializable {
        long of(long number);
    }

    /** Gives a number made of both rows' numbers. */
    private static final class Ids extends ProcessJoinFunction<Tuple3<Long, Long, String>, Tuple3<Long, Long, String>, Long> {
        private static final long serialVersionUID = 1L;

        @Override
        public void processElement(
                Tuple3<Long, Long, String> left, Tuple3<Long, Long, String> right, Context context, Collector<Long> out) {
            long pair = left.f1 * 1_000_003 + right.f1 + left.f2.length() + context.getTimestamp();
            Probes.joined(pair);
            out.collect(pair);
        }
    }
}
