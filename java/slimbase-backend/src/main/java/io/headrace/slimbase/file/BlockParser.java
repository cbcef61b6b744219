package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.Memory;

/**
 * Takes blocks in order and hands out the entries of a key-group range. Every length is checked before it is used, and every extent must begin
 * where the one before ends.
 *
 * <p>Entries go out in lots: a lot is parsed and announced first, then handed out. A lot never spans two key groups.
 */
final class BlockParser implements AutoCloseable {
    /** Entries of a lot: enough loads under way at once for any processor, and what they fetch stays in the first-level cache. */
    private static final int LOT = 32;

    private final String name;
    private final Footer footer;
    private final int lastExtent;
    private final EntryVisitor visitor;
    private int extent;
    private int left;
    private boolean started;
    private long scratch;
    private int scratchBytes;

    private final int[] lotIdentities = new int[LOT];
    private final int[] lotFlags = new int[LOT];
    private final long[] lotKeys = new long[LOT];
    private final int[] lotKeyLengths = new int[LOT];
    private final int[] lotValueLengths = new int[LOT];

    private byte[] raw;
    private int at;
    private int end;
    private int block;

    BlockParser(String name, Footer footer, int firstExtent, int lastExtent, EntryVisitor visitor) {
        this.name = name;
        this.footer = footer;
        this.extent = firstExtent;
        this.lastExtent = lastExtent;
        this.visitor = visitor;
        this.left = footer.entryCounts[firstExtent];
    }

    void parse(Block next) {
        raw = next.raw;
        end = next.bytes;
        block = next.number;
        at = started ? 0 : footer.firstOffsets[extent];
        started = true;
        load();
        while (at < end && extent <= lastExtent) {
            if (left == footer.entryCounts[extent]) {
                visitor.keyGroup(footer.keyGroups[extent], left);
            }
            int count = 0;
            while (count < LOT && count < left && at < end) {
                parseEntry(count++);
            }
            handOut(footer.keyGroups[extent], count);
            left -= count;
            if (left == 0) {
                nextExtent();
            }
        }
    }

    private void handOut(int keyGroup, int count) {
        for (int i = 0; i < count; i++) {
            visitor.ahead(keyGroup, lotIdentities[i], lotKeys[i], lotKeyLengths[i]);
        }
        for (int i = 0; i < count; i++) {
            long key = lotKeys[i];
            int keyLength = lotKeyLengths[i];
            visitor.entry(keyGroup, lotIdentities[i], lotFlags[i], key, keyLength, key + keyLength, lotValueLengths[i]);
        }
    }

    /** After the last block: nothing may be missing. */
    void finish() {
        if (extent <= lastExtent) {
            throw corrupt("file ends within an extent");
        }
    }

    private void nextExtent() {
        extent++;
        if (extent < footer.keyGroups.length) {
            left = footer.entryCounts[extent];
            int expectedBlock = at == end ? block + 1 : block;
            int expectedOffset = at == end ? 0 : at;
            if (footer.firstBlocks[extent] != expectedBlock || footer.firstOffsets[extent] != expectedOffset) {
                throw corrupt("extent does not begin where the one before ends");
            }
        } else if (at != end || block + 1 != footer.blockOffsets.length) {
            throw corrupt("bytes after the last extent");
        }
    }

    private void load() {
        if (scratchBytes < end) {
            int bytes = Math.max(end, FileFormat.BLOCK_LIMIT);
            scratch = scratch == 0 ? Memory.allocate(bytes + 8L) : Memory.reallocate(scratch, bytes + 8L);
            scratchBytes = bytes;
        }
        if (at >= end) {
            throw corrupt("extent begins beyond its block");
        }
        Memory.copyFromArray(raw, 0, end, scratch);
    }

    private void parseEntry(int place) {
        int flags = raw[at++] & 0xFF;
        int stateId = varInt();
        int keyLength = varInt();
        int valueLength = varInt();
        if ((flags & ~FileFormat.ENTRY_FLAGS) != 0
                || stateId >= FileFormat.IDENTITY_LIMIT >>> 1
                || (long) keyLength + valueLength > end - at
                || (flags & FileFormat.ENTRY_TOMBSTONE) != 0 && valueLength != 0) {
            throw corrupt(
                    "entry does not fit its block, flags="
                            + flags
                            + ", state_id="
                            + stateId
                            + ", key_bytes="
                            + keyLength
                            + ", value_bytes="
                            + valueLength);
        }
        lotKeys[place] = scratch + at;
        lotKeyLengths[place] = keyLength;
        lotValueLengths[place] = valueLength;
        lotIdentities[place] = stateId << 1 | (flags & FileFormat.ENTRY_AUX) >>> 2;
        lotFlags[place] = flags & (FileFormat.ENTRY_TOMBSTONE | FileFormat.ENTRY_CHAINED);
        at += keyLength + valueLength;
    }

    private int varInt() {
        int value = 0;
        for (int shift = 0; shift < 35; shift += 7) {
            if (at >= end) {
                throw corrupt("block ends within a number");
            }
            int next = raw[at++];
            value |= (next & 0x7F) << shift;
            if (next >= 0) {
                if (value < 0) {
                    break;
                }
                return value;
            }
        }
        throw corrupt("number is out of range");
    }

    private RuntimeException corrupt(String what) {
        int keyGroup = extent < footer.keyGroups.length ? footer.keyGroups[extent] : -1;
        return Corruption.corrupt(what, name, "block=" + block + ", offset=" + at + ", key_group=" + keyGroup);
    }

    @Override
    public void close() {
        if (scratch != 0) {
            Memory.free(scratch);
            scratch = 0;
            scratchBytes = 0;
        }
    }
}
