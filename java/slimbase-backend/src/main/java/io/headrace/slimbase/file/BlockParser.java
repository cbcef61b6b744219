package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.Memory;

/**
 * Takes blocks in order and hands out the entries of a key-group range. Every length is checked before it is used, and every extent must begin
 * where the one before ends.
 */
final class BlockParser implements AutoCloseable {
    private final String name;
    private final Footer footer;
    private final int lastExtent;
    private final EntryVisitor visitor;
    private int extent;
    private int left;
    private boolean started;
    private long scratch;
    private int scratchBytes;

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
            parseEntry();
            left--;
            if (left == 0) {
                nextExtent();
            }
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

    private void parseEntry() {
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
        long key = scratch + at;
        at += keyLength + valueLength;
        int identity = stateId << 1 | (flags & FileFormat.ENTRY_AUX) >>> 2;
        int entryFlags = flags & (FileFormat.ENTRY_TOMBSTONE | FileFormat.ENTRY_CHAINED);
        visitor.entry(footer.keyGroups[extent], identity, entryFlags, key, keyLength, key + keyLength, valueLength);
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
