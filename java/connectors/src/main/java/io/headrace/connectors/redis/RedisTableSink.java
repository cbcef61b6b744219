package io.headrace.connectors.redis;

import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkV2Provider;

/** The planner's view of the sink: it takes upserts by primary key. */
final class RedisTableSink implements DynamicTableSink {

    private final RedisSink sink;
    private final Integer parallelism;

    RedisTableSink(RedisSink sink, Integer parallelism) {
        this.sink = sink;
        this.parallelism = parallelism;
    }

    @Override
    public ChangelogMode getChangelogMode(ChangelogMode requested) {
        return ChangelogMode.upsert();
    }

    @Override
    public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
        return SinkV2Provider.of(sink, parallelism);
    }

    @Override
    public DynamicTableSink copy() {
        return new RedisTableSink(sink, parallelism);
    }

    @Override
    public String asSummaryString() {
        return "Redis(" + sink + ")";
    }
}
