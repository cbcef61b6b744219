package io.headrace.connectors.redis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.connectors.common.Entry;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.types.RowKind;
import org.junit.jupiter.api.Test;

/** The arguments that the scripts get. */
class RowCommandsTest {

    private static final RowType TYPE =
            (RowType)
                    DataTypes.ROW(
                                    DataTypes.FIELD("cdn", DataTypes.STRING()),
                                    DataTypes.FIELD("n", DataTypes.BIGINT()),
                                    DataTypes.FIELD("at", DataTypes.TIMESTAMP(3)))
                            .getLogicalType();

    private static List<String> arguments(RedisTableFactory.Mode mode, String version, GenericRowData row) {
        Entry entry = new RowCommands(TYPE, "cell:{cdn}:{n}", mode, version, 60_000).apply(row, null);
        List<String> texts = new ArrayList<>();
        for (byte[] part : entry.parts()) {
            texts.add(new String(part, StandardCharsets.UTF_8));
        }
        return texts.subList(3, texts.size());
    }

    /** A hash sets what has a value and removes what is null; text and times carry no quotes. */
    @Test
    void hash() {
        GenericRowData row = GenericRowData.of(StringData.fromString("A\"1"), 7L, TimestampData.fromEpochMillis(0));
        assertEquals(
                List.of("cell:A\"1:7", "n", "7", "60000", "3", "cdn", "A\"1", "n", "7", "at", "1970-01-01 00:00:00.000"),
                arguments(RedisTableFactory.Mode.HASH, "n", row));
        row.setField(2, null);
        assertEquals(
                List.of("cell:A\"1:7", "", "0", "60000", "2", "cdn", "A\"1", "n", "7", "at"),
                arguments(RedisTableFactory.Mode.HASH, "", row));
    }

    /** A string is the row as JSON; a deletion has no value. */
    @Test
    void stringAndDelete() {
        GenericRowData row = GenericRowData.of(StringData.fromString("A"), 7L, null);
        assertEquals(
                List.of("cell:A:7", "", "0", "60000", "{\"cdn\":\"A\",\"n\":7,\"at\":null}"),
                arguments(RedisTableFactory.Mode.STRING, "", row));
        row.setRowKind(RowKind.DELETE);
        assertEquals(List.of("cell:A:7", "", "0", "60000"), arguments(RedisTableFactory.Mode.STRING, "", row));
    }

    /** Templates and version columns that cannot work are refused with a hint that names the columns. */
    @Test
    void badOptions() {
        for (String template : List.of("cell", "cell:{nope}", "cell:{at}")) {
            ValidationException error =
                    assertThrows(ValidationException.class, () -> KeyTemplate.parse(template, TYPE));
            assertTrue(error.getMessage().contains("hint: "), error.getMessage());
        }
        assertThrows(
                ValidationException.class,
                () -> new RowCommands(TYPE, "{cdn}", RedisTableFactory.Mode.HASH, "cdn", 0));
    }
}
