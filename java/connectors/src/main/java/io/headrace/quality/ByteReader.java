package io.headrace.quality;

import java.util.Arrays;

/** Reads what {@link ByteWriter} wrote. */
final class ByteReader {

    private final byte[] data;
    private int at;

    ByteReader(byte[] data) {
        this.data = data;
    }

    boolean atEnd() {
        return at >= data.length;
    }

    int next() {
        return data[at++] & 0xFF;
    }

    long number() {
        long folded = 0;
        int shift = 0;
        while (true) {
            byte one = data[at++];
            folded |= (long) (one & 0x7F) << shift;
            if (one >= 0) {
                return (folded >>> 1) ^ -(folded & 1);
            }
            shift += 7;
        }
    }

    byte[] string() {
        int count = (int) number();
        if (count < 0) {
            return null;
        }
        at += count;
        return Arrays.copyOfRange(data, at - count, at);
    }
}
