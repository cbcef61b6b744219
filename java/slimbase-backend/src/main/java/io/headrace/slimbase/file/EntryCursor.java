package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.KeyHash;
import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.SlimBaseException;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * Pulls a file's entries of a key-group range in order, reading ahead in pieces of 256 KiB. Any one thread.
 *
 * <p>Holds a piece and a raw block outside the heap. The reader is its own, and closed with it.
 */
public final class EntryCursor implements Closeable {
    /** Told of each piece before it is read: may wait, or throw to end the reading. */
    interface Gate {
        void pass(long bytes) throws IOException;
    }

    private final SegmentReader reader;
    private final Footer footer;
    private final String name;
    private final int lastExtent;
    private final DirectScratch piece = new DirectScratch();
    private final BlockDecoder decoder = new BlockDecoder();
    private final EntryParser entry = new EntryParser();
    /** The last key of the block before, while the first entry of the next one is looked at. */
    private final DirectScratch heldKey = new DirectScratch();

    private Gate gate = bytes -> {};
    private int extent;
    private int left;
    private int keyGroup = -1;
    private boolean isContinued;
    private boolean isHashed;
    private long hash;

    private int block = -1;
    private long blockStart;
    private long at;
    private long end;

    private int pieceFrom;
    private int pieceTo;
    private long pieceOffset;
    private long bytesRead;
    private boolean isClosed;

    /** Entries of the key groups from the first to the last, both included. */
    public EntryCursor(SegmentReader reader, int firstKeyGroup, int lastKeyGroup) {
        this.reader = reader;
        this.footer = reader.footer;
        this.name = reader.source.name();
        extent = footer.firstExtent(firstKeyGroup) - 1;
        lastExtent = footer.lastExtent(lastKeyGroup);
    }

    void gate(Gate wanted) {
        gate = wanted;
    }

    /** For messages. */
    String name() {
        return name;
    }

    /** The first key group that there may be entries of; the largest integer when there is none. Reads nothing. */
    int firstKeyGroup() {
        return extent < lastExtent ? footer.keyGroups[extent + 1] : Integer.MAX_VALUE;
    }

    /** Stored bytes read so far. */
    public long bytesRead() {
        return bytesRead;
    }

    /** Goes to the next entry; false at the end. */
    public boolean next() throws IOException {
        long oldKey = entry.key;
        int oldLength = entry.keyLength;
        int oldIdentity = entry.identity;
        boolean mayContinue = left > 0;
        if (left == 0) {
            if (extent >= lastExtent) {
                finish();
                return false;
            }
            beginExtent();
        } else if (at == end) {
            oldKey = holdKey(oldKey, oldLength);
            load(block + 1);
        }
        if (!entry.parse(at, end)) {
            throw Corruption.corrupt("entry does not fit its block", name, "block=" + block + ", offset=" + (at - blockStart));
        }
        at = entry.next;
        left--;
        isHashed = false;
        isContinued =
                mayContinue
                        && entry.identity == oldIdentity
                        && entry.keyLength == oldLength
                        && Memory.equal(entry.key, oldKey, oldLength);
        return true;
    }

    private long holdKey(long key, int length) {
        heldKey.ofAtLeast(Math.max(length, 1));
        Memory.copy(key, heldKey.address(), length);
        return heldKey.address();
    }

    private void beginExtent() throws IOException {
        extent++;
        int first = footer.firstBlocks[extent];
        int offset = footer.firstOffsets[extent];
        if (block < 0) {
            load(first);
            at = blockStart + offset;
        } else if (at == end) {
            load(block + 1);
        }
        if (block != first || at - blockStart != offset || at >= end) {
            throw Corruption.corrupt(
                    "extent does not begin where the one before ends", name, "block=" + first + ", key_group=" + footer.keyGroups[extent]);
        }
        keyGroup = footer.keyGroups[extent];
        left = footer.entryCounts[extent];
    }

    /** Nothing may be left after the file's last extent. */
    private void finish() {
        boolean isFilesEnd = block >= 0 && extent + 1 == footer.keyGroups.length;
        if (isFilesEnd && (at != end || block + 1 != footer.blockOffsets.length)) {
            throw Corruption.corrupt("bytes after the last extent", name, "block=" + block + ", offset=" + (at - blockStart));
        }
    }

    private void load(int number) throws IOException {
        if (number >= footer.blockOffsets.length) {
            throw Corruption.corrupt("file ends within an extent", name, "block=" + block + ", entries_left=" + left);
        }
        if (number < pieceFrom || number >= pieceTo) {
            fetch(number);
        }
        try {
            decode(number);
        } catch (SlimBaseException e) {
            if (!reader.source.forget(pieceOffset, footer.blockEnd(pieceTo - 1) - pieceOffset)) {
                throw e;
            }
            fetch(number);
            decode(number);
        }
        block = number;
        blockStart = decoder.address();
        at = blockStart;
        end = blockStart + decoder.bytes();
    }

    private void decode(int number) {
        int from = (int) (footer.blockOffsets[number] - pieceOffset);
        int bytes = (int) (footer.blockEnd(number) - footer.blockOffsets[number]);
        ByteBuffer stored = piece.ofAtLeast((int) (footer.blockEnd(pieceTo - 1) - pieceOffset));
        stored.clear();
        decoder.decode(name, number, stored, piece.address(), from, bytes);
    }

    private void fetch(int number) throws IOException {
        int to = reader.pieceEnd(number, SegmentReader.PIECE_BYTES, lastBlock());
        int bytes = (int) (footer.blockEnd(to - 1) - footer.blockOffsets[number]);
        gate.pass(bytes);
        ByteBuffer buffer = piece.ofAtLeast(bytes);
        buffer.clear().limit(bytes);
        pieceTo = 0;
        Trailer.read(reader.source, footer.blockOffsets[number], buffer);
        bytesRead += bytes;
        pieceFrom = number;
        pieceTo = to;
        pieceOffset = footer.blockOffsets[number];
    }

    private int lastBlock() {
        return lastExtent + 1 < footer.keyGroups.length ? footer.firstBlocks[lastExtent + 1] : footer.blockOffsets.length - 1;
    }

    public int keyGroup() {
        return keyGroup;
    }

    /** State id times two, plus one for an auxiliary record. */
    public int identity() {
        return entry.identity;
    }

    /** 1: tombstone, 2: chained. */
    public int flags() {
        return entry.flags;
    }

    /** Hash of the key. */
    public long hash() {
        if (!isHashed) {
            hash = KeyHash.hash(entry.identity, entry.key, entry.keyLength);
            isHashed = true;
        }
        return hash;
    }

    /** Holds until the next entry. */
    public long keyAddress() {
        return entry.key;
    }

    public int keyLength() {
        return entry.keyLength;
    }

    /** Holds until the next entry. */
    public long valueAddress() {
        return entry.value();
    }

    public int valueLength() {
        return entry.valueLength;
    }

    /** Whether the entry is of the same key as the one before it. */
    boolean isContinued() {
        return isContinued;
    }

    /** By key group, identity, hash and key, as files are ordered. */
    int compareKey(EntryCursor other) {
        int order = Integer.compare(keyGroup, other.keyGroup);
        if (order == 0) {
            order = Integer.compare(entry.identity, other.entry.identity);
        }
        if (order == 0) {
            order = Long.compareUnsigned(hash(), other.hash());
        }
        return order != 0 ? order : Memory.compare(entry.key, entry.keyLength, other.entry.key, other.entry.keyLength);
    }

    @Override
    public void close() throws IOException {
        if (isClosed) {
            return;
        }
        isClosed = true;
        piece.close();
        decoder.close();
        heldKey.close();
        reader.close();
    }
}
