package io.headrace.connectors.common;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.LocalDateTime;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;
import org.junit.jupiter.api.Test;

/** What JSON comes out for each type, above all where escaping or precision could go wrong. */
class JsonEncoderTest {

    private static String encode(JsonEncoder.Dialect dialect, DataType type, Object value) {
        RowType row = (RowType) DataTypes.ROW(DataTypes.FIELD("c", type)).getLogicalType();
        Bytes out = new Bytes(1);
        new JsonEncoder(row, dialect).encode(GenericRowData.of(value), out);
        return new String(out.toBytes(), StandardCharsets.UTF_8);
    }

    private static String click(DataType type, Object value) {
        return encode(JsonEncoder.Dialect.CLICKHOUSE, type, value);
    }

    /** Quotes, backslashes and control characters are escaped; other UTF-8 stays as it is. */
    @Test
    void stringsAreEscaped() {
        assertEquals(
                "{\"c\":\"a\\\"b\\\\c\\u000a\\u0000 é 快\"}",
                click(DataTypes.STRING(), StringData.fromString("a\"b\\c\n\0 é 快")));
    }

    /** Column names are escaped as well. */
    @Test
    void namesAreEscaped() {
        RowType row = (RowType) DataTypes.ROW(DataTypes.FIELD("a\"b", DataTypes.INT())).getLogicalType();
        Bytes out = new Bytes(1);
        new JsonEncoder(row, JsonEncoder.Dialect.STRICT).encode(GenericRowData.of(1), out);
        assertEquals("{\"a\\\"b\":1}", new String(out.toBytes(), StandardCharsets.UTF_8));
    }

    /** Large integers and decimals keep every digit and use no exponent. */
    @Test
    void numbersKeepTheirDigits() {
        assertEquals("{\"c\":9223372036854775807}", click(DataTypes.BIGINT(), Long.MAX_VALUE));
        DecimalData tiny = DecimalData.fromBigDecimal(new BigDecimal("0.0000000001"), 20, 10);
        assertEquals("{\"c\":0.0000000001}", click(DataTypes.DECIMAL(20, 10), tiny));
    }

    /** Values that JSON has no number for are bare words for ClickHouse and null elsewhere. */
    @Test
    void notANumber() {
        assertEquals("{\"c\":nan}", click(DataTypes.DOUBLE(), Double.NaN));
        assertEquals("{\"c\":-inf}", click(DataTypes.DOUBLE(), Double.NEGATIVE_INFINITY));
        assertEquals("{\"c\":null}", encode(JsonEncoder.Dialect.STRICT, DataTypes.DOUBLE(), Double.NaN));
    }

    /** A timestamp has as many digits as its precision, also before 1970. */
    @Test
    void timestamps() {
        TimestampData time = TimestampData.fromLocalDateTime(LocalDateTime.of(2026, 1, 2, 3, 4, 5, 6_000_000));
        assertEquals("{\"c\":\"2026-01-02 03:04:05.006\"}", click(DataTypes.TIMESTAMP(3), time));
        assertEquals("{\"c\":\"2026-01-02 03:04:05\"}", click(DataTypes.TIMESTAMP(0), time));
        assertEquals("{\"c\":\"1969-12-31 23:59:59.999\"}", click(DataTypes.TIMESTAMP_LTZ(3), TimestampData.fromEpochMillis(-1)));
    }

    /** Null, arrays with nulls, maps and nested rows. */
    @Test
    void nested() {
        assertEquals("{\"c\":null}", click(DataTypes.INT(), null));
        assertEquals(
                "{\"c\":[1,null]}",
                click(DataTypes.ARRAY(DataTypes.INT()), new GenericArrayData(new Object[] {1, null})));
        Map<Object, Object> map = new LinkedHashMap<>();
        map.put(StringData.fromString("k\""), 1L);
        assertEquals(
                "{\"c\":{\"k\\\"\":1}}",
                click(DataTypes.MAP(DataTypes.STRING(), DataTypes.BIGINT()), new GenericMapData(map)));
        assertEquals(
                "{\"c\":{\"x\":true}}",
                click(DataTypes.ROW(DataTypes.FIELD("x", DataTypes.BOOLEAN())), GenericRowData.of(true)));
    }

    /** A type that JSON cannot hold is refused when the job is planned, with the column's name. */
    @Test
    void unsupportedTypeIsRefused() {
        ValidationException error =
                assertThrows(
                        ValidationException.class,
                        () -> click(DataTypes.MAP(DataTypes.INT(), DataTypes.INT()), null));
        assertEquals(true, error.getMessage().contains("column=`c`"), error.getMessage());
    }
}
