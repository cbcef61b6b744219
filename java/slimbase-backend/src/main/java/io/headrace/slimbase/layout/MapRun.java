package io.headrace.slimbase.layout;

import io.headrace.slimbase.engine.Memory;
import java.util.Arrays;

/** Entries of a map that lay together, copied to the heap, so that they can be walked while the map changes. */
public final class MapRun {
    private byte[] bytes = new byte[0];
    private int left;
    private int position;
    private int keyOffset;
    private int keyLength;
    private int valueOffset;
    private int valueLength;
    private boolean last;

    void load(long first, int count, boolean isLast) {
        last = isLast;
        int length = (int) (MapFormat.skip(first, count) - first);
        bytes = new byte[length];
        Memory.copyToArray(first, bytes, 0, length);
        left = count;
        position = 0;
    }

    /** Whether {@link #advance} has a next entry. */
    public boolean hasNext() {
        return left > 0;
    }

    /** Goes to the next entry. */
    public void advance() {
        keyLength = varInt();
        valueLength = varInt();
        keyOffset = position;
        valueOffset = keyOffset + keyLength;
        position = valueOffset + valueLength;
        left--;
    }

    /** Whether the map had no further run when this one was copied. */
    public boolean isLast() {
        return last;
    }

    /** Compares the next entry's user key, as unsigned bytes. */
    public int compareNextKey(byte[] userKey) {
        int before = position;
        int length = varInt();
        varInt();
        int from = position;
        position = before;
        return Arrays.compareUnsigned(bytes, from, from + length, userKey, 0, userKey.length);
    }

    private int varInt() {
        int value = 0;
        for (int shift = 0; ; shift += 7) {
            byte next = bytes[position++];
            value |= (next & 0x7F) << shift;
            if (next >= 0) {
                return value;
            }
        }
    }

    /** The bytes that the offsets point into; not changed once loaded. */
    public byte[] bytes() {
        return bytes;
    }

    public int keyOffset() {
        return keyOffset;
    }

    public int keyLength() {
        return keyLength;
    }

    /** Where the value begins, with its null flag. */
    public int valueOffset() {
        return valueOffset;
    }

    public int valueLength() {
        return valueLength;
    }
}
