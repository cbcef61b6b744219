package io.headrace.statebench.fold;

import java.io.IOException;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.LogicalType;

/** Sink with one writer and no state: a run that fails over is not a measurement. */
final class FoldSink implements Sink<RowData> {

    private static final long serialVersionUID = 1L;

    private final String resultPath;
    private final LogicalType type;

    FoldSink(String resultPath, LogicalType type) {
        this.resultPath = resultPath;
        this.type = type;
    }

    @Override
    public SinkWriter<RowData> createWriter(WriterInitContext context) throws IOException {
        return new FoldWriter(resultPath, new RowHash(type));
    }
}
