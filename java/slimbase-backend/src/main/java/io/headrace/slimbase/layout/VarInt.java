package io.headrace.slimbase.layout;

import io.headrace.slimbase.engine.Memory;

/** Lengths of 1 to 5 bytes, 7 bits a byte, low bits first, the top bit saying that more follows. */
public final class VarInt {
    private VarInt() {}

    /** Bytes that the value takes. */
    public static int bytes(int value) {
        if (value >>> 7 == 0) {
            return 1;
        }
        if (value >>> 14 == 0) {
            return 2;
        }
        if (value >>> 21 == 0) {
            return 3;
        }
        return value >>> 28 == 0 ? 4 : 5;
    }

    /** Writes the value; returns the address after it. */
    public static long put(long at, int value) {
        long cursor = at;
        int rest = value;
        while (rest >>> 7 != 0) {
            Memory.putByte(cursor++, (byte) (rest | 0x80));
            rest >>>= 7;
        }
        Memory.putByte(cursor++, (byte) rest);
        return cursor;
    }

    /** The value at the address. */
    public static int get(long at) {
        int first = Memory.getByte(at);
        if (first >= 0) {
            return first;
        }
        int value = first & 0x7F;
        for (int shift = 7, i = 1; ; shift += 7, i++) {
            int next = Memory.getByte(at + i);
            value |= (next & 0x7F) << shift;
            if (next >= 0 || i == 4) {
                return value;
            }
        }
    }

    /** Bytes of the value at the address. */
    public static int length(long at) {
        int length = 1;
        while (length < 5 && Memory.getByte(at + length - 1) < 0) {
            length++;
        }
        return length;
    }
}
