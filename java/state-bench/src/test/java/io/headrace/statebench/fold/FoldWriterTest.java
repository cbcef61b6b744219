package io.headrace.statebench.fold;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.VarCharType;
import org.apache.flink.types.RowKind;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The fold tells final rows apart and nothing else. */
class FoldWriterTest {

    private static final RowType TYPE = RowType.of(new BigIntType(), VarCharType.STRING_TYPE);

    @TempDir
    Path folder;

    private static RowData row(RowKind kind, long key, String text) {
        GenericRowData row = GenericRowData.of(key, StringData.fromString(text));
        row.setRowKind(kind);
        return row;
    }

    private String fold(List<RowData> changes) throws IOException {
        Path result = folder.resolve("result");
        FoldWriter writer = new FoldWriter(result.toString(), new RowHash(TYPE));
        for (RowData change : changes) {
            writer.write(change, null);
        }
        writer.flush(true);
        String text = Files.readString(result);
        return text.replaceAll("\"changes\": \\d+, ", "").replaceAll(", \"end_ms\".*", "");
    }

    /** Order and detours do not matter. */
    @Test
    void sameFinalRowsFoldToTheSame() throws IOException {
        String straight = fold(List.of(row(RowKind.INSERT, 1, "new"), row(RowKind.INSERT, 2, "long enough to be hashed in words")));
        String detour = fold(List.of(
                row(RowKind.INSERT, 2, "long enough to be hashed in words"),
                row(RowKind.INSERT, 3, "gone"),
                row(RowKind.INSERT, 1, "old"),
                row(RowKind.UPDATE_BEFORE, 1, "old"),
                row(RowKind.UPDATE_AFTER, 1, "new"),
                row(RowKind.DELETE, 3, "gone")));
        assertEquals(straight, detour);
    }

    /** A value, a missing row, and values that changed places are all told. */
    @Test
    void otherFinalRowsFoldToOthers() throws IOException {
        String one = fold(List.of(row(RowKind.INSERT, 1, "a"), row(RowKind.INSERT, 2, "b")));
        assertNotEquals(one, fold(List.of(row(RowKind.INSERT, 1, "a"), row(RowKind.INSERT, 2, "c"))));
        assertNotEquals(one, fold(List.of(row(RowKind.INSERT, 1, "a"))));
        assertNotEquals(one, fold(List.of(row(RowKind.INSERT, 1, "b"), row(RowKind.INSERT, 2, "a"))));
    }
}
