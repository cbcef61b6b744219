package io.headrace.connectors.clickhouse;

import io.headrace.connectors.common.Batching;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkV2Provider;

/** The planner's view of the sink: with a primary key it takes upserts, without one only inserts. */
final class ClickHouseTableSink implements DynamicTableSink {

    private final ClickHouseTarget target;
    private final RowForm form;
    private final Batching batching;
    private final boolean keyed;
    private final Integer parallelism;

    ClickHouseTableSink(
            ClickHouseTarget target, RowForm form, Batching batching, boolean keyed, Integer parallelism) {
        this.target = target;
        this.form = form;
        this.batching = batching;
        this.keyed = keyed;
        this.parallelism = parallelism;
    }

    @Override
    public ChangelogMode getChangelogMode(ChangelogMode requested) {
        return keyed ? ChangelogMode.upsert() : ChangelogMode.insertOnly();
    }

    @Override
    public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
        return SinkV2Provider.of(new ClickHouseSink(target, form, batching), parallelism);
    }

    @Override
    public DynamicTableSink copy() {
        return new ClickHouseTableSink(target, form, batching, keyed, parallelism);
    }

    @Override
    public String asSummaryString() {
        return "ClickHouse(" + target + ")";
    }
}
