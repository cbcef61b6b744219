package io.headrace.statebench.fold;

import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkV2Provider;
import org.apache.flink.table.types.DataType;
import org.apache.flink.types.RowKind;

/** Takes a full changelog, updates with their old rows: only so can the rows be folded without keeping them. */
final class FoldTableSink implements DynamicTableSink {

    private final String resultPath;
    private final DataType type;

    FoldTableSink(String resultPath, DataType type) {
        this.resultPath = resultPath;
        this.type = type;
    }

    @Override
    public ChangelogMode getChangelogMode(ChangelogMode requested) {
        return ChangelogMode.newBuilder()
                .addContainedKind(RowKind.INSERT)
                .addContainedKind(RowKind.UPDATE_BEFORE)
                .addContainedKind(RowKind.UPDATE_AFTER)
                .addContainedKind(RowKind.DELETE)
                .build();
    }

    @Override
    public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
        return SinkV2Provider.of(new FoldSink(resultPath, type.getLogicalType()));
    }

    @Override
    public DynamicTableSink copy() {
        return new FoldTableSink(resultPath, type);
    }

    @Override
    public String asSummaryString() {
        return "fold";
    }
}
