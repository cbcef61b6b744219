package io.headrace.connectors.clickhouse;

import io.headrace.connectors.common.Bytes;
import io.headrace.connectors.common.Entry;
import io.headrace.connectors.common.JsonEncoder;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.connector.base.sink.writer.ElementConverter;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.types.RowKind;

/**
 * A row as one line of JSONEachRow, with the columns that the sink adds: version (nanoseconds that grow with every row of this
 * subtask, also across restarts as long as the clock does not go back) and the mark of deletion.
 */
final class RowForm implements ElementConverter<RowData, Entry> {

    private static final long serialVersionUID = 1L;
    private static final long NANOS_PER_MS = 1_000_000L;

    private final List<String> columns;
    private final JsonEncoder encoder;
    private final String versionPrefix;
    private final String deletedPrefix;
    private transient Bytes buffer;
    private transient long lastVersion;

    /**
     * The form of rows of this type.
     *
     * @param version name of the version column to fill in, empty for none
     * @param deleted name of the column that marks a deletion, empty for none
     */
    RowForm(RowType type, String version, String deleted) {
        this.columns = new ArrayList<>(type.getFieldNames());
        this.encoder = new JsonEncoder(type, JsonEncoder.Dialect.CLICKHOUSE);
        this.versionPrefix = prefix(version);
        this.deletedPrefix = prefix(deleted);
        for (String added : List.of(version, deleted)) {
            if (!added.isEmpty()) {
                columns.add(added);
            }
        }
    }

    private static String prefix(String name) {
        return name.isEmpty() ? "" : ",\"" + name.replace("\\", "\\\\").replace("\"", "\\\"") + "\":";
    }

    /** The statement in front of the rows. */
    String insertInto(ClickHouseTarget target) {
        String names = columns.stream().map(ClickHouseTarget::quoted).collect(Collectors.joining(", "));
        return "INSERT INTO "
                + ClickHouseTarget.quoted(target.database)
                + "."
                + ClickHouseTarget.quoted(target.table)
                + " ("
                + names
                + ") FORMAT JSONEachRow";
    }

    @Override
    public Entry apply(RowData row, SinkWriter.Context context) {
        if (buffer == null) {
            buffer = new Bytes(512);
        }
        buffer.clear();
        encoder.encodeOpen(row, buffer);
        if (!versionPrefix.isEmpty()) {
            lastVersion = Math.max(lastVersion + 1, System.currentTimeMillis() * NANOS_PER_MS);
            buffer.ascii(versionPrefix);
            buffer.ascii(Long.toString(lastVersion));
        }
        if (!deletedPrefix.isEmpty()) {
            buffer.ascii(deletedPrefix);
            buffer.put(row.getRowKind() == RowKind.DELETE ? '1' : '0');
        }
        buffer.put('}');
        buffer.put('\n');
        return new Entry(buffer.toBytes());
    }

    /** Whether deletions are written, as a mark. */
    boolean marksDeletes() {
        return !deletedPrefix.isEmpty();
    }
}
