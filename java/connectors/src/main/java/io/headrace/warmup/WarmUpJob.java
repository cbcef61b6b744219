package io.headrace.warmup;

import java.time.Duration;
import java.util.Collections;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.formats.common.TimestampFormat;
import org.apache.flink.formats.json.JsonFormatOptions.MapNullKeyMode;
import org.apache.flink.formats.json.JsonRowDataDeserializationSchema;
import org.apache.flink.formats.json.JsonRowDataSerializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.AdminClient;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.NewTopic;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.errors.TopicExistsException;
import org.apache.flink.runtime.jobgraph.JobGraph;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.api.graph.StreamGraph;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.binary.BinaryRowData;
import org.apache.flink.table.data.writer.BinaryRowWriter;
import org.apache.flink.table.runtime.generated.GeneratedAggsHandleFunction;
import org.apache.flink.table.runtime.operators.over.ProcTimeUnboundedPrecedingFunction;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;

/**
 * The job of a warm-up: rows, an exchange between TaskManagers, generated code with keyed state, and with Kafka a transactional sink
 * and a source, as a SQL pipeline has them.
 */
final class WarmUpJob {
    /** Of its own, with a partition and a minute of retention: no other topic is touched. */
    static final String TOPIC = "headrace-warm-up";

    /** In the name of each task, and of the thread that starts the job: tells its threads from those of real jobs. */
    static final String NAME = "headrace-warm-up";

    static final int PARALLELISM = 2;
    private static final int KEYS = 64;
    private static final double ROWS_PER_SECOND = 4_000;
    private static final RowType ROW =
            RowType.of(new LogicalType[] {new BigIntType(), new BigIntType()}, new String[] {"k", "id"});
    private static final String COUNT = "WarmUpCount";

    private WarmUpJob() {}

    /** Settings of cluster and job. */
    static Configuration configuration(WarmUpOptions options, String folder) {
        Configuration made = new Configuration();
        made.setString("parallelism.default", Integer.toString(PARALLELISM));
        made.setString("execution.checkpointing.interval", "300 ms");
        made.setString("execution.checkpointing.min-pause", "100 ms");
        made.setString("execution.checkpointing.dir", "file://" + folder + "/checkpoints");
        made.setString("execution.checkpointing.snapshot-compression", "true");
        made.setString("execution.buffer-timeout.interval", "20 ms");
        made.setString("restart-strategy.type", "fixed-delay");
        made.setString("restart-strategy.fixed-delay.attempts", "1");
        made.setString("restart-strategy.fixed-delay.delay", "0 s");
        made.setString("state.backend.type", options.state);
        made.setString("io.tmp.dirs", folder);
        made.setString("process.working-dir", folder);
        made.setString("blob.storage.directory", folder + "/blobs");
        made.setString("web.tmpdir", folder);
        made.setString("web.upload.dir", folder);
        made.setString("web.submit.enable", "false");
        made.setString("rest.address", "127.0.0.1");
        made.setString("rest.bind-address", "127.0.0.1");
        made.setString("rest.bind-port", "0");
        made.setString("taskmanager.memory.managed.size", "24m");
        made.setString("taskmanager.memory.network.min", "4m");
        made.setString("taskmanager.memory.network.max", "4m");
        made.setString("taskmanager.network.netty.num-arenas", "1");
        made.setString("cluster.services.shutdown-timeout", "5 s"); // tasks that wait for a broker end later than their cluster
        made.setString("security.delegation.tokens.enabled", "false");
        return made;
    }

    /** The job, to be submitted to a cluster in this very process. */
    static JobGraph graph(WarmUpOptions options, Configuration configuration, String id) {
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(PARALLELISM, configuration);
        DataStream<RowData> made =
                environment
                        .fromSource(
                                new DataGeneratorSource<>(
                                        WarmUpJob::row,
                                        Long.MAX_VALUE,
                                        RateLimiterStrategy.perSecond(ROWS_PER_SECOND),
                                        InternalTypeInfo.of(ROW)),
                                WatermarkStrategy.noWatermarks(),
                                NAME)
                        .name(NAME);
        DataStream<RowData> rows = made;
        if (!options.kafka.isEmpty()) {
            made.sinkTo(sink(options.kafka, id)).name(NAME + "-out");
            rows = environment.fromSource(source(options.kafka, id), WatermarkStrategy.noWatermarks(), NAME + "-in");
        }
        LogicalType count = new BigIntType();
        rows.keyBy(new Key(), InternalTypeInfo.ofFields(new BigIntType()))
                .process(
                        new ProcTimeUnboundedPrecedingFunction<>(
                                StateTtlConfig.DISABLED,
                                new GeneratedAggsHandleFunction(COUNT, CountSource.of(COUNT), new Object[0]),
                                new LogicalType[] {count}))
                .returns(InternalTypeInfo.ofFields(new BigIntType(), new BigIntType(), count))
                .name(NAME + "-count")
                .process(new FailOnce())
                .returns(InternalTypeInfo.ofFields(new BigIntType(), new BigIntType(), count))
                .name(NAME + "-restart")
                .sinkTo(new DiscardingSink<>())
                .name(NAME + "-end");
        StreamGraph graph = environment.getStreamGraph();
        graph.setJobName(NAME);
        return graph.getJobGraph();
    }

    /** Make the topic unless there is one. */
    static void makeTopic(String brokers) throws ExecutionException, InterruptedException {
        Properties properties = new Properties();
        properties.setProperty("bootstrap.servers", brokers);
        properties.setProperty("default.api.timeout.ms", "10000");
        properties.setProperty("request.timeout.ms", "5000");
        NewTopic topic = new NewTopic(TOPIC, 1, (short) 1);
        topic.configs(Collections.singletonMap("retention.ms", Long.toString(Duration.ofMinutes(1).toMillis())));
        try (AdminClient admin = AdminClient.create(properties)) {
            admin.createTopics(Collections.singleton(topic)).all().get();
        } catch (ExecutionException error) {
            if (!(error.getCause() instanceof TopicExistsException)) {
                throw error;
            }
        }
    }

    private static RowData row(Long number) {
        return GenericRowData.of(number % KEYS, number);
    }

    private static KafkaSink<RowData> sink(String brokers, String id) {
        SerializationSchema<RowData> json =
                new JsonRowDataSerializationSchema(ROW, TimestampFormat.SQL, MapNullKeyMode.FAIL, "null", false, false);
        return KafkaSink.<RowData>builder()
                .setBootstrapServers(brokers)
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix(NAME + "-" + id)
                .setProperty("transaction.timeout.ms", "60000")
                .setRecordSerializer(KafkaRecordSerializationSchema.builder().setTopic(TOPIC).setValueSerializationSchema(json).build())
                .build();
    }

    private static KafkaSource<RowData> source(String brokers, String id) {
        return KafkaSource.<RowData>builder()
                .setBootstrapServers(brokers)
                .setTopics(TOPIC)
                .setGroupId(NAME + "-" + id)
                .setStartingOffsets(OffsetsInitializer.latest())
                .setProperty("isolation.level", "read_uncommitted")
                .setValueOnlyDeserializer(
                        new JsonRowDataDeserializationSchema(ROW, InternalTypeInfo.of(ROW), false, true, TimestampFormat.SQL))
                .build();
    }

    /** The key of a row, as a planned query has it. */
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
}
