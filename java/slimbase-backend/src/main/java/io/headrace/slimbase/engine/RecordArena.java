package io.headrace.slimbase.engine;

import java.util.Arrays;

/** Records outside any log, for a while: added one by one, given up together. One thread. */
public final class RecordArena implements AutoCloseable {
    private static final long BLOCK = 1 << 20;

    private long[] blocks = new long[16];
    private int blockCount;
    private long used;
    private long capacity;
    private long[] records = new long[256];
    private int count;

    /** Adds a record; `flags`: 1 tombstone, 2 chained. Returns where its value goes. */
    public long add(int keyGroup, int identity, int flags, long key, int keyLength, int valueLength) {
        boolean chained = (flags & 2) != 0;
        long size = Record.sizeOf(chained, keyLength, valueLength);
        if (used + size > capacity) {
            capacity = Math.max(BLOCK, size);
            used = 0;
            blocks = blockCount == blocks.length ? Arrays.copyOf(blocks, blockCount * 2) : blocks;
            blocks[blockCount++] = Memory.allocate(capacity);
        }
        records = count == records.length ? Arrays.copyOf(records, count * 2) : records;
        long at = blocks[blockCount - 1] + used;
        used += size;
        records[count++] = at;
        int header = Record.header(keyGroup, identity) | ((flags & 1) != 0 ? Record.TOMBSTONE : 0) | (chained ? Record.CHAINED : 0);
        return Record.write(at, header, 0, key, keyLength, valueLength);
    }

    public int count() {
        return count;
    }

    public long record(int index) {
        return records[index];
    }

    public void clear() {
        for (int i = 0; i < blockCount; i++) {
            Memory.free(blocks[i]);
        }
        blockCount = 0;
        used = capacity = 0;
        count = 0;
    }

    @Override
    public void close() {
        clear();
    }
}
