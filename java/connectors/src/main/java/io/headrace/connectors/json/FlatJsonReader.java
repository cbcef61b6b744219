package io.headrace.connectors.json;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;

import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;

/**
 * One JSON object of plain values to one row, in one pass over its bytes.
 *
 * <p>Strings without escapes are taken as the UTF-8 they are (they point into the message), whole numbers are summed up digit by digit, members that are no column are passed over. Members
 * are expected in the order of the columns, as our own writers write them, and found in any other. {@link #read} gives null for everything else (escapes, fractions, a
 * value of another type than its column's, nested values of a column, malformed text): the caller then asks the complete reader.
 */
final class FlatJsonReader {

    private static final int LONG_DIGITS = 18;

    /** What a column takes. */
    private enum Kind {
        STRING,
        LONG,
        INT,
        BOOLEAN
    }

    private final byte[][] names;
    private final Kind[] kinds;
    private byte[] text;
    private int at;
    private boolean failed;

    FlatJsonReader(RowType type) {
        int count = type.getFieldCount();
        names = new byte[count][];
        kinds = new Kind[count];
        for (int i = 0; i < count; i++) {
            names[i] = type.getFieldNames().get(i).getBytes(StandardCharsets.UTF_8);
            kinds[i] = kindOf(type.getTypeAt(i));
        }
    }

    /** Whether all these columns are of the types known here. */
    static boolean reads(List<LogicalType> columns) {
        return columns.stream().allMatch(column -> kindOf(column) != null);
    }

    private static Kind kindOf(LogicalType type) {
        switch (type.getTypeRoot()) {
            case CHAR:
            case VARCHAR:
                return Kind.STRING;
            case BIGINT:
                return Kind.LONG;
            case INTEGER:
                return Kind.INT;
            case BOOLEAN:
                return Kind.BOOLEAN;
            default:
                return null;
        }
    }

    /** The row, or null when the text holds something that is not read here. */
    RowData read(byte[] message) {
        text = message;
        at = 0;
        failed = false;
        GenericRowData row = new GenericRowData(names.length);
        if (!take('{')) {
            return null;
        }
        if (!take('}')) {
            int expected = 0;
            do {
                int column = name(expected);
                if (failed || !take(':')) {
                    return null;
                }
                if (column < 0) {
                    pass();
                } else {
                    row.setField(column, value(kinds[column]));
                    expected = column + 1;
                }
                if (failed) {
                    return null;
                }
            } while (take(','));
            if (!take('}')) {
                return null;
            }
        }
        blanks();
        return at == text.length ? row : null;
    }

    /** Read a member's name; gives its column, or -1. */
    private int name(int expected) {
        int from = string();
        if (failed) {
            return -1;
        }
        int to = at - 1;
        for (int i = 0; i < names.length; i++) {
            int column = expected + i < names.length ? expected + i : expected + i - names.length;
            if (Arrays.equals(text, from, to, names[column], 0, names[column].length)) {
                return column;
            }
        }
        return -1;
    }

    private Object value(Kind kind) {
        blanks();
        int first = at < text.length ? text[at] : 0;
        if (first == 'n') {
            word("null");
            return null;
        }
        switch (kind) {
            case STRING:
                int from = string();
                return failed ? null : StringData.fromBytes(text, from, at - 1 - from);
            case LONG:
                return number();
            case INT:
                long number = number();
                failed |= number != (int) number;
                return (int) number;
            default:
                word(first == 't' ? "true" : "false");
                return first == 't';
        }
    }

    /** Go behind a string without escapes; gives where its content begins. It ends before the last byte passed. */
    private int string() {
        if (!take('"')) {
            failed = true;
            return 0;
        }
        int from = at;
        while (at < text.length) {
            byte one = text[at++];
            if (one == '"') {
                return from;
            }
            if (one == '\\' || one >= 0 && one < ' ') {
                break;
            }
        }
        failed = true;
        return 0;
    }

    private long number() {
        boolean negative = at < text.length && text[at] == '-';
        at += negative ? 1 : 0;
        int from = at;
        long sum = 0;
        while (at < text.length && text[at] >= '0' && text[at] <= '9') {
            sum = sum * 10 + (text[at++] - '0');
        }
        int digits = at - from;
        boolean leading = digits > 1 && text[from] == '0';
        failed |= digits == 0 || digits > LONG_DIGITS || leading || goesOn();
        return negative ? -sum : sum;
    }

    /** Whether what was read is not the whole value. */
    private boolean goesOn() {
        if (at >= text.length) {
            return true;
        }
        byte next = text[at];
        return next != ',' && next != '}' && next != ' ' && next != '\n' && next != '\r' && next != '\t';
    }

    private void word(String expected) {
        for (int i = 0; i < expected.length(); i++) {
            if (at >= text.length || text[at++] != expected.charAt(i)) {
                failed = true;
                return;
            }
        }
        failed |= goesOn();
    }

    /** Go behind the value of a member that is no column; only plain values are passed here. */
    private void pass() {
        blanks();
        int first = at < text.length ? text[at] : 0;
        if (first == '"') {
            string();
        } else if (first == 'n' || first == 't' || first == 'f') {
            word(first == 'n' ? "null" : first == 't' ? "true" : "false");
        } else {
            number();
        }
    }

    private boolean take(int wanted) {
        blanks();
        if (at < text.length && text[at] == wanted) {
            at++;
            return true;
        }
        return false;
    }

    private void blanks() {
        while (at < text.length && text[at] <= ' ' && text[at] > 0) {
            at++;
        }
    }
}
