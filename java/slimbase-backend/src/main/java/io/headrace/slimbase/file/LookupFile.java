package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.SlimBaseException;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * A packed file opened for lookups: a filter and the blocks' first entries in memory, everything else read when it is asked for, with one positional
 * read a hit. One thread (the task thread). Memory is outside the heap.
 *
 * <p>Throws {@code Corrupt} for whatever does not fit, with file and block, and {@link IOException} when the source does not answer.
 */
public final class LookupFile implements Closeable {
    private final FileSource source;
    private final LookupIndex index;
    private final LookupBuffers buffers;
    private final boolean ownsBuffers;
    private final EntryParser entry = new EntryParser();
    private boolean isClosed;

    private LookupFile(FileSource source, LookupIndex index, LookupBuffers buffers, boolean ownsBuffers) {
        this.source = source;
        this.index = index;
        this.buffers = buffers;
        this.ownsBuffers = ownsBuffers;
    }

    /** Opens the file with buffers of its own; the source is closed with it, or at once when opening fails. */
    public static LookupFile open(FileSource source) throws IOException {
        return open(source, new LookupBuffers(), true);
    }

    /** Opens the file; the buffers are the caller's, for all files of one thread. */
    public static LookupFile open(FileSource source, LookupBuffers shared) throws IOException {
        return open(source, shared, false);
    }

    private static LookupFile open(FileSource source, LookupBuffers buffers, boolean ownsBuffers) throws IOException {
        try {
            return new LookupFile(source, readIndex(source), buffers, ownsBuffers);
        } catch (SlimBaseException | IOException e) {
            source.close();
            throw e;
        }
    }

    private static LookupIndex readIndex(FileSource source) throws IOException {
        try {
            return LookupIndex.read(source);
        } catch (SlimBaseException e) {
            if (e.kind() == SlimBaseException.Kind.Corrupt && source.forget(0, source.length())) {
                return LookupIndex.read(source);
            }
            throw e;
        }
    }

    /** What filter and index of the file will take, about, as its last bytes tell; they do for all but the first version, which counts too little. */
    public static long memoryBytesOf(FileSource source) throws IOException {
        try {
            return LookupIndex.memoryBytesOf(source);
        } catch (SlimBaseException e) {
            if (e.kind() == SlimBaseException.Kind.Corrupt && source.forget(0, source.length())) {
                return LookupIndex.memoryBytesOf(source);
            }
            throw e;
        }
    }

    /** The number that the writer gave the segment. */
    public long segmentNumber() {
        return index.segmentNumber;
    }

    /** Entries of the whole file, tombstones and chained ones too. */
    public long entryCount() {
        return index.entryCount;
    }

    /** For messages: where it is read at the moment, which a copy that has come meanwhile changes. */
    public String name() {
        return source.name();
    }

    /** Length in bytes. */
    public long length() {
        return source.length();
    }

    /** What filter and index take; buffers are not counted. */
    public long memoryBytes() {
        return index.memoryBytes();
    }

    /** Rows of state id, AUX, tombstones, entries, raw bytes, latest access ({@link AccessTimes}). */
    public long[][] statistics() {
        return index.statistics;
    }

    /** First key group of its entries; 0 when it has none. */
    public int firstKeyGroup() {
        return index.extentCount == 0 ? 0 : index.keyGroup(0);
    }

    /** Last key group of its entries; -1 when it has none. */
    public int lastKeyGroup() {
        return index.extentCount == 0 ? -1 : index.keyGroup(index.extentCount - 1);
    }

    /** Whether a key with this hash may be in the file. Reads nothing. */
    public boolean mayContain(long hash) {
        return index.mayContain(hash);
    }

    /**
     * Finds all entries of a key in order: a whole value or tombstone first, then chained pieces. Addresses hold for the visitor's call only. The
     * filter is not asked.
     *
     * @return how many entries there were
     */
    public int find(int keyGroup, int identity, long hash, long key, int keyLength, EntryVisitor visitor) throws IOException {
        int extent = index.extent(keyGroup);
        if (extent < 0) {
            return 0;
        }
        int block = index.find(extent, identity, hash);
        int last = index.lastBlock(extent);
        int found = 0;
        while (true) {
            load(block);
            long start = buffers.decoder.address();
            int from = block == index.firstBlock(extent) ? index.firstOffset(extent) : 0;
            int end = index.end(extent, block, buffers.decoder.bytes());
            if (from >= end || end > buffers.decoder.bytes()) {
                throw Corruption.corrupt("extent does not fit its block", name(), "block=" + block + ", key_group=" + keyGroup);
            }
            long at = start + from;
            while (at < start + end) {
                if (!entry.parse(at, start + end)) {
                    throw Corruption.corrupt("entry does not fit its block", name(), "block=" + block + ", offset=" + (at - start));
                }
                if (entry.keyLength == keyLength && entry.identity == identity && Memory.equal(entry.key, key, keyLength)) {
                    visitor.entry(keyGroup, identity, entry.flags, entry.key, keyLength, entry.value(), entry.valueLength);
                    found++;
                } else if (found > 0) {
                    return found;
                }
                at = entry.next;
            }
            if (block == last || index.compareFirst(block + 1, identity, hash) != 0) {
                return found;
            }
            block++;
        }
    }

    private void load(int block) throws IOException {
        long offset = index.offset(block);
        long bytes = index.offset(block + 1) - offset;
        if (bytes > SegmentReader.BLOCK_BYTES_LIMIT) {
            throw Corruption.corrupt("block is too large", name(), "block=" + block + ", bytes=" + bytes);
        }
        try {
            load(block, offset, (int) bytes);
        } catch (SlimBaseException e) {
            if (e.kind() != SlimBaseException.Kind.Corrupt || !source.forget(offset, bytes)) {
                throw e;
            }
            load(block, offset, (int) bytes);
        }
    }

    private void load(int block, long offset, int bytes) throws IOException {
        ByteBuffer stored = buffers.stored.ofAtLeast(bytes);
        stored.limit(bytes).position(0);
        Trailer.read(source, offset, stored);
        buffers.decoder.decode(name(), block, stored, buffers.stored.address(), 0, bytes);
    }

    /**
     * Tells the machine that the key's block will be read soon. For a file of this machine, when the native library is there; else it does nothing.
     */
    public void willNeed(int keyGroup, int identity, long hash) {
        int extent = index.extent(keyGroup);
        if (extent >= 0) {
            int block = index.find(extent, identity, hash);
            source.willNeed(index.offset(block), index.offset(block + 1) - index.offset(block));
        }
    }

    @Override
    public void close() throws IOException {
        if (isClosed) {
            return;
        }
        isClosed = true;
        index.close();
        if (ownsBuffers) {
            buffers.close();
        }
        source.close();
    }
}
