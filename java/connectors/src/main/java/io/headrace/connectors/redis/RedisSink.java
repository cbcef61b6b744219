package io.headrace.connectors.redis;

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
final class RedisSink extends AsyncSinkBase<RowData, Entry> {

    private static final long serialVersionUID = 1L;

    private final RedisServer server;
    private final RowCommands commands;
    private final Batching batching;
    private final boolean deletes;

    RedisSink(RedisServer server, RowCommands commands, Batching batching, boolean deletes) {
        super(
                commands,
                batching.rows,
                batching.inFlight,
                batching.bufferRows,
                batching.bytes,
                batching.intervalMs,
                batching.bytes);
        this.server = server;
        this.commands = commands;
        this.batching = batching;
        this.deletes = deletes;
    }

    @Override
    public SinkWriter<RowData> createWriter(WriterInitContext context) {
        return restoreWriter(context, List.of());
    }

    @Override
    public StatefulSinkWriter<RowData, BufferedRequestState<Entry>> restoreWriter(
            WriterInitContext context, Collection<BufferedRequestState<Entry>> states) {
        return new RedisWriter(server, commands, batching, deletes, context, states);
    }

    @Override
    public SimpleVersionedSerializer<BufferedRequestState<Entry>> getWriterStateSerializer() {
        return new EntrySerializer();
    }

    @Override
    public String toString() {
        return server.toString();
    }
}
