package io.headrace.slimbase.file;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.zip.CRC32C;

/** A file's footer, read and checked: every offset lies within the file, and everything ascends. */
final class Footer {
    final long segmentNumber;
    final int version;
    /** Where the last block ends. */
    final long blocksEnd;

    final long[] blockOffsets;
    /** Of each block's first entry; null in version 1. */
    final long[] firstHashes;
    /** Of each block's first entry: key group in the upper half, identity with the flag CONTINUED in the lower one; null in version 1. */
    final int[] firstPlaces;

    final int filterBytes;
    final int filterChecksum;
    final int[] keyGroups;
    final int[] firstBlocks;
    final int[] firstOffsets;
    final int[] entryCounts;
    /** State id, AUX, tombstones, entries, raw bytes, latest access ({@link AccessTimes}). */
    final long[][] statistics;

    private final String name;

    private Footer(String name, ByteBuffer in, Trailer trailer) {
        this.name = name;
        this.version = trailer.version;
        this.blocksEnd = trailer.blocksEnd();
        boolean hasFilter = version != FileFormat.VERSION_WITHOUT_FILTER;
        int blocks =
                count(in, hasFilter ? FileFormat.BLOCK_ROW_BYTES : FileFormat.BLOCK_ROW_BYTES_WITHOUT_FILTER, "blocks");
        blockOffsets = new long[blocks];
        firstHashes = hasFilter ? new long[blocks] : null;
        firstPlaces = hasFilter ? new int[blocks] : null;
        for (int i = 0; i < blocks; i++) {
            blockOffsets[i] = in.getLong();
            if (hasFilter) {
                firstHashes[i] = in.getLong();
                firstPlaces[i] = (in.getShort() & 0xFFFF) << 16 | in.getShort() & 0xFFFF;
            }
        }
        int extents = count(in, FileFormat.EXTENT_BYTES, "extents");
        keyGroups = new int[extents];
        firstBlocks = new int[extents];
        firstOffsets = new int[extents];
        entryCounts = new int[extents];
        for (int i = 0; i < extents; i++) {
            keyGroups[i] = in.getInt();
            firstBlocks[i] = in.getInt();
            firstOffsets[i] = in.getInt();
            entryCounts[i] = in.getInt();
        }
        boolean hasTimes = version > FileFormat.VERSION_WITHOUT_TIMES;
        int rows = count(in, hasTimes ? FileFormat.STATISTICS_BYTES : FileFormat.STATISTICS_BYTES_WITHOUT_TIMES, "statistics");
        statistics = new long[rows][];
        for (int i = 0; i < rows; i++) {
            int state = in.getShort() & 0xFFFF;
            int aux = in.getShort() & 0xFFFF;
            long tombstones = in.getInt() & 0xFFFF_FFFFL;
            long entries = in.getLong();
            long rawBytes = in.getLong();
            long unknown = entries == tombstones ? AccessTimes.NEVER : AccessTimes.ALWAYS;
            statistics[i] = new long[] {state, aux, tombstones, entries, rawBytes, hasTimes ? in.getLong() : unknown};
        }
        int tail = 8 + (hasFilter ? FileFormat.FILTER_ROW_BYTES : 0);
        require(in.remaining() == tail, "footer has a wrong length", "left_bytes=" + in.remaining());
        int filterKind = hasFilter ? in.getInt() : FileFormat.FILTER_NONE;
        filterBytes = hasFilter ? in.getInt() : 0;
        filterChecksum = hasFilter ? in.getInt() : 0;
        segmentNumber = in.getLong();
        require(
                filterBytes == trailer.filterBytes
                        && filterKind == (filterBytes == 0 ? FileFormat.FILTER_NONE : FileFormat.FILTER_SPLIT_BLOCK_BLOOM),
                "filter does not fit",
                "kind=" + filterKind + ", bytes=" + filterBytes + ", trailer_bytes=" + trailer.filterBytes);
        checkBlocks();
        checkExtents();
        if (hasFilter) {
            require((filterBytes == 0) == (blocks == 0), "filter and blocks do not fit", "blocks=" + blocks + ", filter_bytes=" + filterBytes);
            checkFirstEntries();
        }
    }

    /** The same with first entries, which the file's version lacks. */
    private Footer(Footer other, long[] firstHashes, int[] firstPlaces) {
        name = other.name;
        segmentNumber = other.segmentNumber;
        version = other.version;
        blocksEnd = other.blocksEnd;
        blockOffsets = other.blockOffsets;
        this.firstHashes = firstHashes;
        this.firstPlaces = firstPlaces;
        filterBytes = other.filterBytes;
        filterChecksum = other.filterChecksum;
        keyGroups = other.keyGroups;
        firstBlocks = other.firstBlocks;
        firstOffsets = other.firstOffsets;
        entryCounts = other.entryCounts;
        statistics = other.statistics;
        checkFirstEntries();
    }

    Footer with(long[] hashes, int[] places) {
        return new Footer(this, hashes, places);
    }

    private int count(ByteBuffer in, int rowBytes, String what) {
        require(in.remaining() >= 4, "footer is too short", "before=`" + what + "`");
        int count = in.getInt();
        require(
                count >= 0 && (long) count * rowBytes <= in.remaining() - 4L,
                "footer's counts do not fit its length",
                what + "=" + (count & 0xFFFF_FFFFL) + ", left_bytes=" + in.remaining());
        return count;
    }

    private void require(boolean holds, String what, String values) {
        if (!holds) {
            throw Corruption.corrupt(what, name, values);
        }
    }

    private void checkBlocks() {
        long before = FileFormat.HEADER_BYTES;
        for (int i = 0; i < blockOffsets.length; i++) {
            long at = blockOffsets[i];
            boolean first = i == 0 && at == FileFormat.HEADER_BYTES;
            boolean later = i > 0 && at > before + FileFormat.BLOCK_HEADER_BYTES;
            require(
                    (first || later) && at + FileFormat.BLOCK_HEADER_BYTES < blocksEnd,
                    "block offset does not fit",
                    "block=" + i + ", offset=" + at);
            before = at;
        }
        require(
                blockOffsets.length > 0 || blocksEnd == FileFormat.HEADER_BYTES,
                "file without blocks has bytes before its footer",
                "blocks_end=" + blocksEnd);
    }

    private void checkExtents() {
        require(
                (keyGroups.length == 0) == (blockOffsets.length == 0),
                "extents and blocks do not fit",
                "extents=" + keyGroups.length + ", blocks=" + blockOffsets.length);
        for (int i = 0; i < keyGroups.length; i++) {
            boolean ascends =
                    i == 0
                            ? firstBlocks[0] == 0 && firstOffsets[0] == 0
                            : keyGroups[i] > keyGroups[i - 1]
                                    && (firstBlocks[i] > firstBlocks[i - 1]
                                            || firstBlocks[i] == firstBlocks[i - 1] && firstOffsets[i] > firstOffsets[i - 1]);
            require(
                    ascends
                            && keyGroups[i] >= 0
                            && keyGroups[i] < FileFormat.KEY_GROUP_LIMIT
                            && firstBlocks[i] < blockOffsets.length
                            && firstOffsets[i] >= 0
                            && entryCounts[i] > 0,
                    "extent does not fit",
                    "extent=" + i + ", key_group=" + keyGroups[i] + ", block=" + firstBlocks[i]);
        }
    }

    /** First entries ascend within a key group, which is the one that the extents say. */
    private void checkFirstEntries() {
        int extent = 0;
        for (int block = 0; block < blockOffsets.length; block++) {
            while (extent + 1 < keyGroups.length && beginsNoLater(extent + 1, block)) {
                extent++;
            }
            boolean continued = (firstPlaces[block] & FileFormat.CONTINUED) != 0;
            boolean beginsExtent = firstBlocks[extent] == block && firstOffsets[extent] == 0;
            boolean sameGroup = block > 0 && firstPlaces[block] >>> 16 == firstPlaces[block - 1] >>> 16;
            int order = sameGroup ? compareFirstEntries(block - 1, block) : -1;
            require(
                    firstPlaces[block] >>> 16 == keyGroups[extent]
                            && identity(block) < FileFormat.IDENTITY_LIMIT
                            && !(continued && beginsExtent)
                            && order <= 0
                            && (order < 0 || continued),
                    "first entry of a block does not fit",
                    "block=" + block + ", key_group=" + (firstPlaces[block] >>> 16) + ", identity=" + identity(block));
        }
    }

    private boolean beginsNoLater(int extent, int block) {
        return firstBlocks[extent] < block || firstBlocks[extent] == block && firstOffsets[extent] == 0;
    }

    private int compareFirstEntries(int a, int b) {
        int byIdentity = Integer.compare(identity(a), identity(b));
        return byIdentity != 0 ? byIdentity : Long.compareUnsigned(firstHashes[a], firstHashes[b]);
    }

    private int identity(int block) {
        return firstPlaces[block] & 0xFFFF & ~FileFormat.CONTINUED;
    }

    /** The first extent that is of this key group or a later one; their number when there is none. */
    int firstExtent(int keyGroup) {
        int found = Arrays.binarySearch(keyGroups, keyGroup);
        return found < 0 ? -found - 1 : found;
    }

    /** The last extent that is of this key group or an earlier one; -1 when there is none. */
    int lastExtent(int keyGroup) {
        int found = Arrays.binarySearch(keyGroups, keyGroup);
        return found < 0 ? -found - 2 : found;
    }

    /** Where a block's bytes end. */
    long blockEnd(int block) {
        return block + 1 < blockOffsets.length ? blockOffsets[block + 1] : blocksEnd;
    }

    /** Reads header, trailer and footer, and checks the filter. */
    static Footer read(FileSource source) throws IOException {
        Trailer trailer = Trailer.read(source);
        trailer.checkHeader(source);
        return parse(source.name(), trailer, trailer.readFilterAndFooter(source));
    }

    /** Checks and parses the footer, and checks the filter before it. */
    static Footer parse(String name, Trailer trailer, byte[] filterAndFooter) {
        int filterBytes = trailer.filterBytes;
        check(name, "footer", filterAndFooter, filterBytes, trailer.footerBytes, trailer.footerChecksum);
        ByteBuffer in = ByteBuffer.wrap(filterAndFooter, filterBytes, trailer.footerBytes).order(ByteOrder.LITTLE_ENDIAN);
        Footer footer = new Footer(name, in, trailer);
        if (footer.version != FileFormat.VERSION_WITHOUT_FILTER) {
            check(name, "filter", filterAndFooter, 0, filterBytes, footer.filterChecksum);
        }
        return footer;
    }

    private static void check(String name, String part, byte[] bytes, int from, int count, int stored) {
        CRC32C checksum = new CRC32C();
        checksum.update(bytes, from, count);
        if ((int) checksum.getValue() != stored) {
            throw Corruption.checksum(name, "block=`" + part + "`", stored, (int) checksum.getValue());
        }
    }
}
