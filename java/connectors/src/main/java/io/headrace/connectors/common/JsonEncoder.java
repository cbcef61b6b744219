package io.headrace.connectors.common;

import java.io.Serializable;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.MapData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.logical.ArrayType;
import org.apache.flink.table.types.logical.LocalZonedTimestampType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeFamily;
import org.apache.flink.table.types.logical.MapType;
import org.apache.flink.table.types.logical.MultisetType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.TimestampType;

/**
 * Rows as JSON, straight into bytes.
 *
 * <p>Numbers are written as numbers (DECIMAL in plain notation), dates and times as `2026-01-31`, `23:59:59`, `2026-01-31
 * 23:59:59.123` in UTC, arrays and maps as arrays and objects, a multiset as an array with its elements repeated. In the
 * ClickHouse dialect NaN and infinities are bare words and bytes go through as they are; in the strict one they are null
 * and Base64. The writers of a row's fields are chosen once, from its type.
 */
public final class JsonEncoder implements Serializable {

    private static final long serialVersionUID = 1L;
    private static final int DATE_TIME_SEPARATOR = ' ';

    /** Which JSON is wanted. */
    public enum Dialect {
        /** What every JSON parser reads. */
        STRICT,
        /** What ClickHouse's JSONEachRow reads, which can say a little more. */
        CLICKHOUSE
    }

    /** Writes one value that is not null. */
    private interface ValueWriter extends Serializable {
        void write(Bytes out, Object value);
    }

    private final byte[][] names;
    private final RowData.FieldGetter[] getters;
    private final ValueWriter[] writers;

    /**
     * An encoder for rows of this type.
     *
     * @throws ValidationException a column has a type that JSON cannot hold
     */
    public JsonEncoder(RowType type, Dialect dialect) {
        int count = type.getFieldCount();
        this.names = new byte[count][];
        this.getters = new RowData.FieldGetter[count];
        this.writers = new ValueWriter[count];
        for (int i = 0; i < count; i++) {
            Bytes name = new Bytes(32);
            name.string(type.getFieldNames().get(i).getBytes(StandardCharsets.UTF_8));
            name.put(':');
            names[i] = name.toBytes();
            getters[i] = RowData.createFieldGetter(type.getTypeAt(i), i);
            writers[i] = writerOf(type.getTypeAt(i), dialect, type.getFieldNames().get(i));
        }
    }

    /** Write the row's columns without the closing brace, so that the caller can add fields of its own. */
    public void encodeOpen(RowData row, Bytes out) {
        out.put('{');
        for (int i = 0; i < names.length; i++) {
            if (i > 0) {
                out.put(',');
            }
            out.put(names[i]);
            encodeField(row, i, out);
        }
    }

    /** Write the row as a JSON object. */
    public void encode(RowData row, Bytes out) {
        encodeOpen(row, out);
        out.put('}');
    }

    /** Write the value of one column, `null` when there is none. */
    public void encodeField(RowData row, int column, Bytes out) {
        Object value = getters[column].getFieldOrNull(row);
        if (value == null) {
            out.ascii("null");
        } else {
            writers[column].write(out, value);
        }
    }

    private static ValueWriter writerOf(LogicalType type, Dialect dialect, String column) {
        switch (type.getTypeRoot()) {
            case CHAR:
            case VARCHAR:
                return (out, value) -> out.string(((StringData) value).toBytes());
            case BOOLEAN:
            case TINYINT:
            case SMALLINT:
            case INTEGER:
            case BIGINT:
            case INTERVAL_YEAR_MONTH:
            case INTERVAL_DAY_TIME:
                return (out, value) -> out.ascii(value.toString());
            case FLOAT:
            case DOUBLE:
                return (out, value) -> floating(out, ((Number) value).doubleValue(), value.toString(), dialect);
            case DECIMAL:
                return (out, value) -> out.ascii(plain(value));
            case BINARY:
            case VARBINARY:
                return dialect == Dialect.CLICKHOUSE
                        ? (out, value) -> out.string((byte[]) value)
                        : (out, value) -> out.string(Base64.getEncoder().encode((byte[]) value));
            case DATE:
                return (out, value) -> quoted(out, LocalDate.ofEpochDay((int) value).toString());
            case TIME_WITHOUT_TIME_ZONE:
                return (out, value) -> quoted(out, LocalTime.ofNanoOfDay((int) value * 1_000_000L).toString());
            case TIMESTAMP_WITHOUT_TIME_ZONE:
                return timestampWriter(((TimestampType) type).getPrecision());
            case TIMESTAMP_WITH_LOCAL_TIME_ZONE:
                return timestampWriter(((LocalZonedTimestampType) type).getPrecision());
            case ARRAY:
                return arrayWriter(((ArrayType) type).getElementType(), dialect, column);
            case MAP:
                return mapWriter((MapType) type, dialect, column);
            case MULTISET:
                return multisetWriter(((MultisetType) type).getElementType(), dialect, column);
            case ROW:
                JsonEncoder nested = new JsonEncoder((RowType) type, dialect);
                return (out, value) -> nested.encode((RowData) value, out);
            default:
                throw new ValidationException(
                        "column type cannot be written as JSON, column=`"
                                + column
                                + "`, type=`"
                                + type.asSummaryString()
                                + "`\nhint: CAST it to STRING in the query");
        }
    }

    private static void floating(Bytes out, double value, String text, Dialect dialect) {
        if (!Double.isNaN(value) && !Double.isInfinite(value)) {
            out.ascii(text);
        } else if (dialect == Dialect.STRICT) {
            out.ascii("null");
        } else {
            out.ascii(Double.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf");
        }
    }

    private static String plain(Object decimal) {
        BigDecimal value = ((DecimalData) decimal).toBigDecimal();
        return value.toPlainString();
    }

    private static void quoted(Bytes out, String text) {
        out.put('"');
        out.ascii(text);
        out.put('"');
    }

    private static ValueWriter timestampWriter(int precision) {
        return (out, value) -> {
            LocalDateTime time = ((TimestampData) value).toLocalDateTime();
            out.put('"');
            out.ascii(time.toLocalDate().toString());
            out.put(DATE_TIME_SEPARATOR);
            digits(out, time.getHour(), 2);
            out.put(':');
            digits(out, time.getMinute(), 2);
            out.put(':');
            digits(out, time.getSecond(), 2);
            if (precision > 0) {
                out.put('.');
                digits(out, time.getNano() / (int) Math.pow(10, 9 - precision), precision);
            }
            out.put('"');
        };
    }

    private static void digits(Bytes out, int value, int width) {
        String text = Integer.toString(value);
        for (int i = text.length(); i < width; i++) {
            out.put('0');
        }
        out.ascii(text);
    }

    private static ValueWriter arrayWriter(LogicalType type, Dialect dialect, String column) {
        ArrayData.ElementGetter getter = ArrayData.createElementGetter(type);
        ValueWriter writer = writerOf(type, dialect, column);
        return (out, value) -> {
            ArrayData array = (ArrayData) value;
            List<Object> elements = new ArrayList<>(array.size());
            for (int i = 0; i < array.size(); i++) {
                elements.add(getter.getElementOrNull(array, i));
            }
            elements(out, elements, writer);
        };
    }

    private static ValueWriter multisetWriter(LogicalType type, Dialect dialect, String column) {
        ArrayData.ElementGetter getter = ArrayData.createElementGetter(type);
        ValueWriter writer = writerOf(type, dialect, column);
        return (out, value) -> {
            MapData counts = (MapData) value;
            List<Object> elements = new ArrayList<>();
            for (int i = 0; i < counts.size(); i++) {
                for (int n = 0; n < counts.valueArray().getInt(i); n++) {
                    elements.add(getter.getElementOrNull(counts.keyArray(), i));
                }
            }
            elements(out, elements, writer);
        };
    }

    private static void elements(Bytes out, List<Object> elements, ValueWriter writer) {
        out.put('[');
        for (int i = 0; i < elements.size(); i++) {
            if (i > 0) {
                out.put(',');
            }
            if (elements.get(i) == null) {
                out.ascii("null");
            } else {
                writer.write(out, elements.get(i));
            }
        }
        out.put(']');
    }

    private static ValueWriter mapWriter(MapType type, Dialect dialect, String column) {
        if (!type.getKeyType().is(LogicalTypeFamily.CHARACTER_STRING)) {
            throw new ValidationException(
                    "map keys have to be strings, column=`"
                            + column
                            + "`\nhint: CAST the keys to STRING in the query");
        }
        ArrayData.ElementGetter getter = ArrayData.createElementGetter(type.getValueType());
        ValueWriter writer = writerOf(type.getValueType(), dialect, column);
        return (out, value) -> {
            MapData map = (MapData) value;
            out.put('{');
            for (int i = 0; i < map.size(); i++) {
                if (i > 0) {
                    out.put(',');
                }
                out.string(map.keyArray().getString(i).toBytes());
                out.put(':');
                Object element = getter.getElementOrNull(map.valueArray(), i);
                if (element == null) {
                    out.ascii("null");
                } else {
                    writer.write(out, element);
                }
            }
            out.put('}');
        };
    }
}
