package io.headrace.statebench.fold;

import io.headrace.statebench.Json;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.table.data.RowData;
import org.apache.flink.types.RowKind;

/**
 * Adds the hash of every row that comes and subtracts that of every row that goes: what is left is the sum over the final
 * rows, whatever the order of changes was. Two independent 64-bit sums and the number of rows make a collision unlikely.
 */
final class FoldWriter implements SinkWriter<RowData> {

    private static final long SECOND_LANE = 0xC2B2AE3D27D4EB4FL;

    private final String resultPath;
    private final RowHash hash;
    private long rows;
    private long changes;
    private long first;
    private long second;

    FoldWriter(String resultPath, RowHash hash) {
        this.resultPath = resultPath;
        this.hash = hash;
    }

    @Override
    public void write(RowData row, Context context) {
        long one = hash.of(row);
        long other = RowHash.mix(one * SECOND_LANE + 1);
        boolean comes = row.getRowKind() == RowKind.INSERT || row.getRowKind() == RowKind.UPDATE_AFTER;
        changes++;
        rows += comes ? 1 : -1;
        first += comes ? one : -one;
        second += comes ? other : -other;
    }

    @Override
    public void flush(boolean endOfInput) throws IOException {
        if (!endOfInput) {
            return;
        }
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("rows", rows);
        result.put("changes", changes);
        result.put("hash", String.format("%016x%016x", first, second));
        result.put("end_ms", System.currentTimeMillis());
        Files.write(Path.of(resultPath), Json.render(result).getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public void close() {}
}
