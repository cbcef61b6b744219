package io.headrace.quality;

import java.util.Arrays;

/** Bytes that grow: fixed and variable-length numbers, and strings with their length before them. Used by one thread. */
final class ByteWriter {

    private byte[] data;
    private int length;

    ByteWriter(int capacity) {
        data = new byte[capacity];
    }

    void clear() {
        length = 0;
    }

    int length() {
        return length;
    }

    byte[] toBytes() {
        return Arrays.copyOf(data, length);
    }

    void put(int value) {
        reserve(1);
        data[length++] = (byte) value;
    }

    void put(byte[] source, int from, int count) {
        reserve(count);
        System.arraycopy(source, from, data, length, count);
        length += count;
    }

    /** Seven bits a byte, lowest first, signs folded to the lowest bit: small numbers of either sign are short. */
    void number(long value) {
        reserve(10);
        long rest = (value << 1) ^ (value >> 63);
        while ((rest & ~0x7FL) != 0) {
            data[length++] = (byte) (rest | 0x80);
            rest >>>= 7;
        }
        data[length++] = (byte) rest;
    }

    /** A string; null is told from the empty one. */
    void string(byte[] utf8) {
        if (utf8 == null) {
            number(-1);
            return;
        }
        number(utf8.length);
        put(utf8, 0, utf8.length);
    }

    boolean endsLike(int from, byte[] other, int at) {
        int count = length - from;
        return at + count <= other.length && Arrays.equals(data, from, length, other, at, at + count);
    }

    /** Forget what was written behind `to`. */
    void cut(int to) {
        length = to;
    }

    private void reserve(int more) {
        if (length + more > data.length) {
            data = Arrays.copyOf(data, Math.max(data.length * 2, length + more));
        }
    }
}
