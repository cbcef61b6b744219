package io.headrace.connectors.clickhouse;

import io.headrace.connectors.common.Batching;
import io.headrace.connectors.common.Entry;
import io.headrace.connectors.common.FlushingWriter;
import io.headrace.connectors.common.RejectedRows;
import io.headrace.connectors.common.TransientFailure;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.List;
import java.util.zip.Deflater;
import java.util.zip.GZIPOutputStream;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.connector.base.sink.writer.BufferedRequestState;
import org.apache.flink.table.data.RowData;
import org.apache.flink.types.RowKind;

/**
 * Writes batches with one INSERT each.
 *
 * <p>Answers: 200 is written. 408, 429 and 5xx but 501, and no answer, may pass. Anything else is about the rows, the table or the rights
 * and fails the job with ClickHouse's own words.
 */
final class ClickHouseWriter extends FlushingWriter {

    private static final int ERROR_TEXT_LIMIT = 1_000;

    private final ClickHouseTarget target;
    private final boolean marksDeletes;
    private final HttpClient client;
    private final HttpRequest.Builder template;

    ClickHouseWriter(
            ClickHouseTarget target,
            RowForm form,
            Batching batching,
            WriterInitContext context,
            Collection<BufferedRequestState<Entry>> states) {
        super("clickhouse", form, context, batching, states);
        this.target = target;
        this.marksDeletes = form.marksDeletes();
        this.client =
                HttpClient.newBuilder()
                        .version(HttpClient.Version.HTTP_1_1)
                        .connectTimeout(batching.requestTimeout)
                        .build();
        String query = URLEncoder.encode(form.insertInto(target), StandardCharsets.UTF_8);
        this.template =
                HttpRequest.newBuilder(URI.create(target.url + "/?query=" + query)).timeout(batching.requestTimeout);
        if (!target.username.isEmpty()) {
            template.header("X-ClickHouse-User", target.username).header("X-ClickHouse-Key", target.password);
        }
        if (target.gzip) {
            template.header("Content-Encoding", "gzip");
        }
    }

    @Override
    public void write(RowData row, SinkWriter.Context context) throws IOException, InterruptedException {
        RowKind kind = row.getRowKind();
        if (kind == RowKind.UPDATE_BEFORE || (kind == RowKind.DELETE && !marksDeletes)) {
            return;
        }
        super.write(row, context);
    }

    @Override
    protected void send(List<Entry> batch) throws IOException {
        HttpRequest request = template.copy().POST(HttpRequest.BodyPublishers.ofByteArray(body(batch))).build();
        HttpResponse<String> answer;
        try {
            answer = client.send(request, HttpResponse.BodyHandlers.ofString());
        } catch (IOException failure) {
            throw new TransientFailure("ClickHouse does not answer, target=`" + target + "`: " + failure, failure);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new IOException("writing was cancelled", interrupted);
        }
        int status = answer.statusCode();
        if (status == 200) {
            return;
        }
        String text = answer.body().strip();
        String said = text.length() > ERROR_TEXT_LIMIT ? text.substring(0, ERROR_TEXT_LIMIT) + "…" : text;
        if (status == 408 || status == 429 || (status >= 500 && status != 501)) {
            throw new TransientFailure("ClickHouse cannot write, target=`" + target + "`, status=" + status + ": " + said, null);
        }
        throw new RejectedRows(
                "ClickHouse rejects the rows, target=`" + target + "`, status=" + status + ": " + said,
                "compare the table's columns and types (`DESCRIBE TABLE " + target.table + "`) with the declaration");
    }

    private byte[] body(List<Entry> batch) throws IOException {
        int size = 0;
        for (Entry entry : batch) {
            size += entry.parts()[0].length;
        }
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(target.gzip ? size / 4 + 64 : size);
        try (OutputStream out = target.gzip ? new FastGzip(bytes) : bytes) {
            for (Entry entry : batch) {
                out.write(entry.parts()[0]);
            }
        }
        return bytes.toByteArray();
    }

    /** Level 1: JSON shrinks to about an eighth already; more only costs time. */
    private static final class FastGzip extends GZIPOutputStream {
        FastGzip(OutputStream out) throws IOException {
            super(out, 65_536);
            def.setLevel(Deflater.BEST_SPEED);
        }
    }
}
