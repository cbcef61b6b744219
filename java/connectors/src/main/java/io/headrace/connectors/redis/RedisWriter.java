package io.headrace.connectors.redis;

import io.headrace.connectors.common.Batching;
import io.headrace.connectors.common.Entry;
import io.headrace.connectors.common.FlushingWriter;
import io.headrace.connectors.common.RejectedRows;
import io.headrace.connectors.common.TransientFailure;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.connector.base.sink.writer.BufferedRequestState;
import org.apache.flink.table.data.RowData;
import org.apache.flink.types.RowKind;

/**
 * Writes batches as pipelines of script calls over one connection, which is opened when first needed and again after a failure.
 *
 * <p>A batch that fails half-way is sent again as a whole: every command may be repeated. Answers of the kind "not now" (loading, busy, out of
 * memory, read-only replica, …) are repeated; others, as WRONGTYPE, fail the job.
 */
final class RedisWriter extends FlushingWriter {

    private static final List<String> NOT_NOW =
            List.of("LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "OOM", "NOSCRIPT", "NOREPLICAS");

    private final RedisServer server;
    private final Batching batching;
    private final boolean deletes;
    private final List<byte[]> scripts;
    private volatile RedisConnection connection;

    RedisWriter(
            RedisServer server,
            RowCommands commands,
            Batching batching,
            boolean deletes,
            WriterInitContext context,
            Collection<BufferedRequestState<Entry>> states) {
        super("redis", commands, context, batching, states);
        this.server = server;
        this.batching = batching;
        this.deletes = deletes;
        this.scripts = commands.scripts();
    }

    @Override
    public void write(RowData row, SinkWriter.Context context) throws IOException, InterruptedException {
        RowKind kind = row.getRowKind();
        if (kind == RowKind.UPDATE_BEFORE || (kind == RowKind.DELETE && !deletes)) {
            return;
        }
        super.write(row, context);
    }

    @Override
    protected void send(List<Entry> batch) throws IOException {
        List<byte[][]> commands = new ArrayList<>(batch.size());
        for (Entry entry : batch) {
            commands.add(entry.parts());
        }
        String error;
        try {
            if (connection == null) {
                connection = RedisConnection.open(server, batching.requestTimeout, scripts);
            }
            error = connection.pipeline(commands);
        } catch (RejectedRows rejected) {
            throw rejected;
        } catch (IOException failure) {
            disconnect();
            throw new TransientFailure("Redis does not answer, server=`" + server + "`: " + failure, failure);
        }
        if (error == null) {
            return;
        }
        if (NOT_NOW.stream().anyMatch(error::startsWith)) {
            disconnect(); // opening again loads the scripts again
            throw new TransientFailure("Redis cannot write, server=`" + server + "`: " + error, null);
        }
        throw new RejectedRows(
                "Redis rejects the rows, server=`" + server + "`: " + error,
                "WRONGTYPE means that something else uses the same keys: change 'key-template' or 'mode'");
    }

    private void disconnect() {
        RedisConnection current = connection;
        connection = null;
        if (current != null) {
            current.close();
        }
    }

    @Override
    public void close() {
        super.close();
        disconnect();
    }
}
