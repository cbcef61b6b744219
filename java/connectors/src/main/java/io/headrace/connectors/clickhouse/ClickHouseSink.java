package io.headrace.connectors.clickhouse;

import io.headrace.connectors.common.Batching;
import io.headrace.connectors.common.Entry;
import io.headrace.connectors.common.EntrySerializer;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.StatefulSinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.connector.base.sink.AsyncSinkBase;
import org.apache.flink.connector.base.sink.writer.BufferedRequestState;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.table.data.RowData;

/** Makes the writers of the subtasks. */
final class ClickHouseSink extends AsyncSinkBase<RowData, Entry> {

    private static final long serialVersionUID = 1L;

    private final ClickHouseTarget target;
    private final RowForm form;
    private final Batching batching;

    ClickHouseSink(ClickHouseTarget target, RowForm form, Batching batching) {
        super(
                form,
                batching.rows,
                batching.inFlight,
                batching.bufferRows,
                batching.bytes,
                batching.intervalMs,
                batching.bytes);
        this.target = target;
        this.form = form;
        this.batching = batching;
    }

    @Override
    public SinkWriter<RowData> createWriter(WriterInitContext context) {
        return restoreWriter(context, List.of());
    }

    @Override
    public StatefulSinkWriter<RowData, BufferedRequestState<Entry>> restoreWriter(
            WriterInitContext context, Collection<BufferedRequestState<Entry>> states) {
        return new ClickHouseWriter(target, form, batching, context, states);
    }

    @Override
    public SimpleVersionedSerializer<BufferedRequestState<Entry>> getWriterStateSerializer() {
        return new EntrySerializer();
    }
}
