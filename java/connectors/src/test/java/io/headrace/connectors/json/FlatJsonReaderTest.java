package io.headrace.connectors.json;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.logical.RowType;
import org.junit.jupiter.api.Test;

/** What is read, and what is left to Flink's reader. */
class FlatJsonReaderTest {

    private static final RowType TYPE =
            (RowType)
                    DataTypes.ROW(
                                    DataTypes.FIELD("sid", DataTypes.STRING()),
                                    DataTypes.FIELD("ts_ms", DataTypes.BIGINT()),
                                    DataTypes.FIELD("br", DataTypes.INT()),
                                    DataTypes.FIELD("ok", DataTypes.BOOLEAN()))
                            .getLogicalType();

    private static RowData read(String text) {
        return new FlatJsonReader(TYPE).read(text.getBytes(StandardCharsets.UTF_8));
    }

    private static GenericRowData row(String sid, Long tsMs, Integer br, Boolean ok) {
        return GenericRowData.of(sid == null ? null : StringData.fromString(sid), tsMs, br, ok);
    }

    @Test
    void plainValuesInAnyOrder() {
        assertEquals(row("a", 1L, -2, true), read("{\"sid\":\"a\",\"ts_ms\":1,\"br\":-2,\"ok\":true}"));
        assertEquals(row("ü€", null, 0, false), read(" { \"ok\" : false , \"br\":0,\"sid\":\"ü€\"}\n"));
        assertEquals(row(null, 999_999_999_999_999_999L, null, null), read("{\"ts_ms\":999999999999999999,\"br\":null}"));
        assertEquals(row(null, null, null, null), read("{}"));
    }

    @Test
    void membersThatAreNoColumnArePassedOver() {
        assertEquals(row("a", null, 3, null), read("{\"x\":\"y\",\"sid\":\"a\",\"n\":12,\"t\":true,\"u\":null,\"br\":3}"));
    }

    @Test
    void theLastOfTwoMembersCounts() {
        assertEquals(row("b", null, null, null), read("{\"sid\":\"a\",\"sid\":\"b\"}"));
    }

    @Test
    void everythingElseIsLeftToTheCompleteReader() {
        for (String text :
                new String[] {
                    "", "null", "[1]", "{", "{\"sid\":\"a\"", "{\"sid\":\"a\"}}", "{\"sid\":\"a\\n\"}", "{\"si\\u0064\":\"a\"}",
                    "{\"ts_ms\":1.0}", "{\"ts_ms\":1e3}", "{\"ts_ms\":01}", "{\"ts_ms\":9999999999999999999}", "{\"ts_ms\":\"1\"}",
                    "{\"br\":2147483648}", "{\"br\":}", "{\"br\":-}", "{\"sid\":1}", "{\"sid\":{}}", "{\"x\":[1]}", "{\"x\":1.5}",
                    "{\"ok\":1}", "{\"ok\":tru}", "{\"ok\":truex}", "{\"sid\":\"a\" \"br\":1}", "{\"sid\" \"a\"}", "{,}",
                    "{\"sid\":\"a\",}"
                }) {
            assertNull(read(text), text);
        }
    }

    @Test
    void everyPrefixIsRefusedWithoutAnException() {
        String text = "{\"sid\":\"a\",\"ts_ms\":12,\"br\":-2,\"ok\":true,\"x\":null}";
        for (int length = 0; length < text.length(); length++) {
            assertNull(read(text.substring(0, length)));
        }
        assertTrue(read(text).getBoolean(3));
    }
}
