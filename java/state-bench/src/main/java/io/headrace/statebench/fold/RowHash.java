package io.headrace.statebench.fold;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.List;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.logical.LogicalType;

/** 64-bit hash of a flat row by its values, not by its bytes: rows that come out of a state may be laid out otherwise. */
final class RowHash {

    private static final long PRIME = 0x100000001B3L;
    private static final long START = 0xCBF29CE484222325L;
    private static final long NULL = 0x5BD1E995L;

    private static final VarHandle EIGHT =
            MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    private final RowData.FieldGetter[] getters;

    RowHash(LogicalType row) {
        List<LogicalType> fields = row.getChildren();
        getters = new RowData.FieldGetter[fields.size()];
        for (int i = 0; i < getters.length; i++) {
            getters[i] = RowData.createFieldGetter(fields.get(i), i);
        }
    }

    long of(RowData row) {
        long hash = START;
        for (RowData.FieldGetter getter : getters) {
            hash = mix(hash + field(getter.getFieldOrNull(row)));
        }
        return hash;
    }

    private static long field(Object value) {
        if (value == null) {
            return NULL;
        }
        if (value instanceof Number) {
            return value instanceof Double || value instanceof Float
                    ? Double.doubleToLongBits(((Number) value).doubleValue())
                    : ((Number) value).longValue();
        }
        if (value instanceof StringData) {
            return bytes(((StringData) value).toBytes());
        }
        if (value instanceof TimestampData) {
            return ((TimestampData) value).getMillisecond();
        }
        return value.toString().hashCode();
    }

    private static long bytes(byte[] bytes) {
        long hash = START ^ bytes.length;
        int whole = bytes.length & -Long.BYTES;
        for (int i = 0; i < whole; i += Long.BYTES) {
            hash = mix(hash ^ (long) EIGHT.get(bytes, i));
        }
        for (int i = whole; i < bytes.length; i++) {
            hash = (hash ^ bytes[i]) * PRIME;
        }
        return hash;
    }

    /** Finaliser of SplitMix64. */
    static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }
}
