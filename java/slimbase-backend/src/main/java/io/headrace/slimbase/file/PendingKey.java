package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.SlimBaseException;
import java.util.Arrays;

/**
 * The entries of one key while files are merged: a base (whole value or tombstone), or none, and chained pieces of a list. They are held in memory until
 * the key is complete, so that they can be joined.
 *
 * <p>A list's block: u32 used bytes, u32 elements, the elements with {@code ,} between them, then unused room.
 */
final class PendingKey implements AutoCloseable {
    private static final int LIST_HEADER = 8;
    private static final int FIRST_CAPACITY = 64 << 10;

    int keyGroup;
    int identity;
    int keyLength;
    /** Whether there is a whole value or a tombstone before the pieces. */
    boolean hasBase;

    boolean isTombstone;
    private final String inputs;
    private long memory = Memory.allocate(FIRST_CAPACITY);
    private int capacity = FIRST_CAPACITY;
    private int used;
    /** Ends of the parts, the key's first. */
    private int[] ends = new int[16];

    private int parts;

    /** The inputs' names are for messages. */
    PendingKey(String inputs) {
        this.inputs = inputs;
    }

    boolean isEmpty() {
        return parts == 0;
    }

    void clear() {
        parts = 0;
        used = 0;
    }

    /** Begins with the stream's current entry. */
    void begin(MergedEntries entries) {
        clear();
        keyGroup = entries.keyGroup();
        identity = entries.identity();
        keyLength = entries.keyLength();
        hasBase = (entries.flags() & FileFormat.ENTRY_CHAINED) == 0;
        isTombstone = (entries.flags() & FileFormat.ENTRY_TOMBSTONE) != 0;
        append(entries.keyAddress(), keyLength);
        addPart(entries);
    }

    /** Adds the value of the stream's current entry. */
    void addPart(MergedEntries entries) {
        append(entries.valueAddress(), entries.valueLength());
    }

    private void append(long from, int bytes) {
        if (parts == ends.length) {
            ends = Arrays.copyOf(ends, parts * 2);
        }
        ends[parts++] = reserve(bytes);
        Memory.copy(from, memory + ends[parts - 1] - bytes, bytes);
    }

    /** The end of so many bytes more. */
    private int reserve(int bytes) {
        long wanted = (long) used + bytes;
        if (wanted > Integer.MAX_VALUE - 64) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unsupported,
                    "entries of one key are too large to merge, bytes=" + wanted + ", files=`" + inputs + "`",
                    "split values of more than a gigabyte over several keys",
                    null);
        }
        if (wanted > capacity) {
            capacity = (int) Math.max(wanted, Math.min(2L * capacity, Integer.MAX_VALUE - 64));
            memory = Memory.reallocate(memory, capacity);
        }
        used = (int) wanted;
        return used;
    }

    /** Bytes of all parts. */
    int bytes() {
        return used;
    }

    long key() {
        return memory;
    }

    /** The base and the pieces, or the pieces alone. */
    int values() {
        return parts - 1;
    }

    long value(int index) {
        return memory + ends[index];
    }

    int valueLength(int index) {
        return ends[index + 1] - ends[index];
    }

    /** Makes one list block of the parts from one on, and leaves it as the only part after them. */
    void join(int first) {
        int last = values();
        long bytes = LIST_HEADER;
        int elements = 0;
        for (int i = first; i < last; i++) {
            int count = checkBlock(i);
            bytes += Memory.getInt(value(i)) + (elements > 0 && count > 0 ? 1L : 0);
            elements += count;
        }
        int room = (int) Math.min(bytes, Integer.MAX_VALUE);
        int from = used;
        int end = reserve(room);
        long block = memory + from;
        Memory.putInt(block, room - LIST_HEADER);
        Memory.putInt(block + 4, elements);
        long at = block + LIST_HEADER;
        boolean isFirst = true;
        for (int i = first; i < last; i++) {
            if (Memory.getInt(value(i) + 4) == 0) {
                continue;
            }
            if (!isFirst) {
                Memory.putByte(at++, (byte) ',');
            }
            isFirst = false;
            int length = Memory.getInt(value(i));
            Memory.copy(value(i) + LIST_HEADER, at, length);
            at += length;
        }
        ends[first] = from;
        ends[first + 1] = end;
        parts = first + 2;
    }

    /** How many elements a list block has. */
    private int checkBlock(int index) {
        int length = valueLength(index);
        boolean fits = length >= LIST_HEADER;
        int bytes = fits ? Memory.getInt(value(index)) : 0;
        int count = fits ? Memory.getInt(value(index) + 4) : 0;
        if (!fits || bytes < 0 || bytes > length - LIST_HEADER || count < 0 || count == 0 && bytes > 0) {
            throw Corruption.corrupt(
                    "chained value is no list block",
                    inputs,
                    "key_group=" + keyGroup + ", state_id=" + (identity >>> 1) + ", value_bytes=" + length + ", used_bytes=" + bytes
                            + ", elements=" + count);
        }
        return count;
    }

    @Override
    public void close() {
        Memory.free(memory);
    }
}
