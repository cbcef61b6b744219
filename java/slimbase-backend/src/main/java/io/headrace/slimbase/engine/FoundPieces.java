package io.headrace.slimbase.engine;

import java.util.Arrays;

/**
 * The pieces of a key's value that a lookup finds in files, newest file first, and the record that they make together. One lookup at a time: {@link #clear},
 * each file between {@link #beginFile} and {@link #endFile}, then {@link #record}.
 */
final class FoundPieces implements ColdFile.PieceVisitor {
    private static final int TOMBSTONE = 1;
    private static final int CHAINED = 2;

    private final ScratchRecords scratch = new ScratchRecords();
    private long capacity = 4096;
    private long bytes = Memory.allocate(capacity);
    private long used;
    /** Of each piece where its bytes are, their number, and its flags. */
    private long[] offsets = new long[8];

    private int[] lengths = new int[8];
    private int[] flags = new int[8];
    private int count;
    /** The first piece of the file that is being read. */
    private int first;

    void clear() {
        count = 0;
        used = 0;
    }

    void beginFile() {
        first = count;
    }

    @Override
    public void piece(int pieceFlags, long value, int valueLength) {
        if (count == offsets.length) {
            offsets = Arrays.copyOf(offsets, count * 2);
            lengths = Arrays.copyOf(lengths, count * 2);
            flags = Arrays.copyOf(flags, count * 2);
        }
        if (used + valueLength > capacity) {
            capacity = (used + valueLength) * 2;
            bytes = Memory.reallocate(bytes, capacity);
        }
        Memory.copy(value, bytes + used, valueLength);
        offsets[count] = used;
        lengths[count] = valueLength;
        flags[count++] = pieceFlags;
        used += valueLength;
    }

    /** True when what the file had needs nothing older: it began with a whole value or a tombstone. */
    boolean endFile() {
        boolean isWhole = (flags[first] & CHAINED) == 0;
        // A file hands pieces out oldest first, the files come newest first.
        for (int low = first, high = count - 1; low < high; low++, high--) {
            swap(low, high);
        }
        return isWhole;
    }

    private void swap(int a, int b) {
        long offset = offsets[a];
        int length = lengths[a];
        int flag = flags[a];
        offsets[a] = offsets[b];
        lengths[a] = lengths[b];
        flags[a] = flags[b];
        offsets[b] = offset;
        lengths[b] = length;
        flags[b] = flag;
    }

    /** A record of the pieces together, or 0 when the key is not there. It holds for some dozen further lookups. */
    long record(int header, long key, int keyLength) {
        if (count > 0 && (flags[count - 1] & TOMBSTONE) != 0) {
            count--;
        }
        if (count == 0) {
            return 0;
        }
        if (count == 1) {
            long record = begin(header, key, keyLength, lengths[0]);
            Memory.copy(bytes + offsets[0], Record.valueAddress(record), lengths[0]);
            return record;
        }
        long[] blocks = new long[count];
        for (int i = 0; i < count; i++) {
            blocks[i] = bytes + offsets[i];
        }
        long record = begin(header, key, keyLength, Math.toIntExact(ListBlocks.joinedLength(blocks, count)));
        ListBlocks.join(blocks, count, Record.valueAddress(record));
        return record;
    }

    private long begin(int header, long key, int keyLength, int valueLength) {
        long record = scratch.take(Record.sizeOf(false, keyLength, valueLength));
        Record.write(record, header, 0, key, keyLength, valueLength);
        return record;
    }

    void close() {
        scratch.close();
        Memory.free(bytes);
    }
}
