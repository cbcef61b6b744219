package io.headrace.statebench.nexmark;

import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.ScanTableSource;
import org.apache.flink.table.connector.source.SourceProvider;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.DataType;

/** Scans the events once, in order when the parallelism is 1. */
final class NexmarkTableSource implements ScanTableSource {

    private final NexmarkOptions options;
    private final DataType type;

    NexmarkTableSource(NexmarkOptions options, DataType type) {
        this.options = options;
        this.type = type;
    }

    @Override
    public ChangelogMode getChangelogMode() {
        return ChangelogMode.insertOnly();
    }

    @Override
    public ScanRuntimeProvider getScanRuntimeProvider(ScanContext context) {
        TypeInformation<RowData> produced = context.createTypeInformation(type);
        return SourceProvider.of(new DataGeneratorSource<>(new EventGenerator(options), options.events, produced));
    }

    @Override
    public DynamicTableSource copy() {
        return new NexmarkTableSource(options, type);
    }

    @Override
    public String asSummaryString() {
        return "nexmark";
    }
}
