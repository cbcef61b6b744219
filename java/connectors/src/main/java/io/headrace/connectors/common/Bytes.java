package io.headrace.connectors.common;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** A growing array of bytes that knows JSON's strings. Used by one thread at a time; cleared and used again for each row. */
public final class Bytes {

    private static final byte[] HEX = "0123456789abcdef".getBytes(StandardCharsets.US_ASCII);

    private byte[] data;
    private int length;

    /** An empty one with room for `capacity` bytes. */
    public Bytes(int capacity) {
        this.data = new byte[capacity];
    }

    /** Forget the content, keep the room. */
    public void clear() {
        length = 0;
    }

    /** A copy of the content. */
    public byte[] toBytes() {
        return Arrays.copyOf(data, length);
    }

    /** Append one byte. */
    public void put(int value) {
        reserve(1);
        data[length++] = (byte) value;
    }

    /** Append bytes as they are. */
    public void put(byte[] bytes) {
        reserve(bytes.length);
        System.arraycopy(bytes, 0, data, length, bytes.length);
        length += bytes.length;
    }

    /** Append text that is known to be ASCII. */
    public void ascii(String text) {
        int count = text.length();
        reserve(count);
        for (int i = 0; i < count; i++) {
            data[length++] = (byte) text.charAt(i);
        }
    }

    /** Append a JSON string with this UTF-8 content: quoted, with quotes, backslashes and control characters escaped. */
    public void string(byte[] utf8) {
        reserve(utf8.length + 2);
        data[length++] = '"';
        for (byte value : utf8) {
            if (value >= 0 && value < 0x20) {
                escapeControl(value);
            } else if (value == '"' || value == '\\') {
                reserve(2);
                data[length++] = '\\';
                data[length++] = value;
            } else {
                reserve(1);
                data[length++] = value;
            }
        }
        put('"');
    }

    private void escapeControl(byte value) {
        reserve(6);
        data[length++] = '\\';
        data[length++] = 'u';
        data[length++] = '0';
        data[length++] = '0';
        data[length++] = HEX[value >> 4];
        data[length++] = HEX[value & 15];
    }

    private void reserve(int more) {
        if (length + more > data.length) {
            data = Arrays.copyOf(data, Math.max(data.length * 2, length + more));
        }
    }
}
