package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.KeyHash;
import io.headrace.slimbase.engine.Memory;
import java.io.IOException;

/**
 * What a lookup needs of a file in memory: its filter, the first entry of each block, and its extents. Outside the heap, in one piece.
 *
 * <p>A file of version 1 lacks filter and first entries; they are made by reading it once.
 */
final class LookupIndex implements AutoCloseable {
    /** A block of the filter must not lie in two cache lines. */
    private static final int ALIGNMENT = 64;

    private static final int ROW = FileFormat.BLOCK_ROW_BYTES;
    private static final int EXTENT = FileFormat.EXTENT_BYTES;

    final long segmentNumber;
    final long entryCount;
    final long[][] statistics;
    final int blockCount;
    final int extentCount;

    private final int filterBlocks;
    private final long allocated;
    private final long bytes;
    private final long filter;
    /** Rows of offset, hash, place; one more at the end with the offset of the blocks' end. */
    private final long rows;
    /** Rows of key group, block, offset, entries. */
    private final long extents;

    /** The filter is the beginning of the bytes given. */
    private LookupIndex(Footer footer, byte[] filterBytes, int filterLength) {
        segmentNumber = footer.segmentNumber;
        statistics = footer.statistics;
        blockCount = footer.blockOffsets.length;
        extentCount = footer.keyGroups.length;
        filterBlocks = filterLength / FileFormat.FILTER_BLOCK_BYTES;
        long rowBytes = (blockCount + 1L) * ROW + 7 & ~7L;
        bytes = filterLength + rowBytes + (long) extentCount * EXTENT + ALIGNMENT;
        allocated = Memory.allocate(bytes);
        filter = allocated + ALIGNMENT - 1 & -ALIGNMENT;
        rows = filter + filterLength;
        extents = rows + rowBytes;
        Memory.copyFromArray(filterBytes, 0, filterLength, filter);
        for (int i = 0; i < blockCount; i++) {
            Memory.putLong(rows + (long) i * ROW, footer.blockOffsets[i]);
            Memory.putLong(rows + (long) i * ROW + 8, footer.firstHashes[i]);
            Memory.putInt(rows + (long) i * ROW + 16, footer.firstPlaces[i]);
        }
        Memory.putLong(rows + (long) blockCount * ROW, footer.blocksEnd);
        long entries = 0;
        for (int i = 0; i < extentCount; i++) {
            long extent = extents + (long) i * EXTENT;
            Memory.putInt(extent, footer.keyGroups[i]);
            Memory.putInt(extent + 4, footer.firstBlocks[i]);
            Memory.putInt(extent + 8, footer.firstOffsets[i]);
            Memory.putInt(extent + 12, footer.entryCounts[i]);
            entries += footer.entryCounts[i];
        }
        entryCount = entries;
    }

    /** About what reading it will take; the footer has a little more than is kept of it. */
    static long memoryBytesOf(FileSource source) throws IOException {
        Trailer trailer = Trailer.read(source);
        return memoryBytesOf(trailer.filterBytes, trailer.footerBytes);
    }

    static long memoryBytesOf(int filterBytes, int footerBytes) {
        return (long) filterBytes + footerBytes + ALIGNMENT;
    }

    /** Two reads: the trailer, then filter and footer. The header says nothing that the trailer does not. */
    static LookupIndex read(FileSource source) throws IOException {
        Trailer trailer = Trailer.read(source);
        byte[] content = trailer.readFilterAndFooter(source);
        Footer footer = Footer.parse(source.name(), trailer, content);
        if (trailer.version == FileFormat.VERSION_WITHOUT_FILTER) {
            trailer.checkHeader(source);
            return scan(source, footer);
        }
        return new LookupIndex(footer, content, trailer.filterBytes);
    }

    private static LookupIndex scan(FileSource source, Footer footer) throws IOException {
        Scan scan = new Scan(footer.blockOffsets.length);
        SegmentReader reader = SegmentReader.over(source, footer);
        try (RangeScan range = reader.scan(0, FileFormat.KEY_GROUP_LIMIT)) {
            for (int block = range.firstBlock(); block <= range.lastBlock(); block++) {
                scan.block = block;
                scan.isFirst = true;
                range.parse(reader.readBlock(block), scan);
                if (scan.isDisordered) {
                    throw Corruption.corrupt("entries are not in order", source.name(), "block=" + block);
                }
            }
            range.finish();
        }
        byte[] filter = scan.filter.finish();
        return new LookupIndex(footer.with(scan.hashes, scan.places), filter, filter.length);
    }

    /** Notes what the footer of version 1 lacks. */
    private static final class Scan implements EntryVisitor {
        private final FilterBuilder filter = new FilterBuilder();
        private final long[] hashes;
        private final int[] places;
        private int block;
        private boolean isFirst;
        private boolean isDisordered;
        private int lastPlace = -1;
        private long lastHash;

        Scan(int blocks) {
            hashes = new long[blocks];
            places = new int[blocks];
        }

        @Override
        public void entry(int keyGroup, int identity, int flags, long key, int keyLength, long value, int valueLength) {
            long hash = KeyHash.hash(identity, key, keyLength);
            int place = keyGroup << 16 | identity;
            boolean isSame = place == lastPlace && hash == lastHash;
            isDisordered |= place < lastPlace || place == lastPlace && Long.compareUnsigned(hash, lastHash) < 0;
            if (isFirst) {
                hashes[block] = hash;
                places[block] = place | (isSame ? FileFormat.CONTINUED : 0);
                isFirst = false;
            }
            filter.add(hash);
            lastPlace = place;
            lastHash = hash;
        }
    }

    long memoryBytes() {
        return bytes;
    }

    boolean mayContain(long hash) {
        return filterBlocks > 0 && KeyFilter.mayContain(filter, filterBlocks, hash);
    }

    int keyGroup(int extent) {
        return Memory.getInt(extents + (long) extent * EXTENT);
    }

    /** The key group's extent, or -1. */
    int extent(int keyGroup) {
        int low = 0;
        int high = extentCount - 1;
        while (low <= high) {
            int middle = low + high >>> 1;
            int found = keyGroup(middle);
            if (found == keyGroup) {
                return middle;
            }
            if (found < keyGroup) {
                low = middle + 1;
            } else {
                high = middle - 1;
            }
        }
        return -1;
    }

    int firstBlock(int extent) {
        return Memory.getInt(extents + (long) extent * EXTENT + 4);
    }

    /** Where the extent begins in its first block. */
    int firstOffset(int extent) {
        return Memory.getInt(extents + (long) extent * EXTENT + 8);
    }

    int lastBlock(int extent) {
        if (extent + 1 == extentCount) {
            return blockCount - 1;
        }
        return firstOffset(extent + 1) == 0 ? firstBlock(extent + 1) - 1 : firstBlock(extent + 1);
    }

    /** Where the extent ends in this block of it, which has so many bytes. */
    int end(int extent, int block, int blockBytes) {
        boolean isShared = extent + 1 < extentCount && firstBlock(extent + 1) == block;
        return isShared ? firstOffset(extent + 1) : blockBytes;
    }

    /** The block of the extent in which the first entry with this identity and hash is, if there is one. */
    int find(int extent, int identity, long hash) {
        int first = firstBlock(extent);
        int low = first;
        int high = lastBlock(extent);
        while (low < high) {
            int middle = low + high + 1 >>> 1;
            if (compareFirst(middle, identity, hash) <= 0) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        while (low > first && isContinued(low) && compareFirst(low, identity, hash) == 0) {
            low--;
        }
        return low;
    }

    /** How the block's first entry, which must be of the key group asked for, stands to this identity and hash. */
    int compareFirst(int block, int identity, long hash) {
        long row = rows + (long) block * ROW;
        int own = Memory.getInt(row + 16) & 0xFFFF & ~FileFormat.CONTINUED;
        return own != identity ? Integer.compare(own, identity) : Long.compareUnsigned(Memory.getLong(row + 8), hash);
    }

    private boolean isContinued(int block) {
        return (Memory.getInt(rows + (long) block * ROW + 16) & FileFormat.CONTINUED) != 0;
    }

    long offset(int block) {
        return Memory.getLong(rows + (long) block * ROW);
    }

    @Override
    public void close() {
        Memory.free(allocated);
    }
}
