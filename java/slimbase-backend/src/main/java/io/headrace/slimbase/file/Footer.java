package io.headrace.slimbase.file;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.zip.CRC32C;

/** A file's footer, read and checked: every offset lies within the file, and everything ascends. */
final class Footer {
    private static final int FOOTER_LIMIT = 1 << 30;

    final long segmentNumber;
    final long offset;
    final long[] blockOffsets;
    final int[] keyGroups;
    final int[] firstBlocks;
    final int[] firstOffsets;
    final int[] entryCounts;
    /** State id, AUX, tombstones, entries, raw bytes. */
    final long[][] statistics;

    private final String name;

    private Footer(String name, ByteBuffer in, long offset) {
        this.name = name;
        this.offset = offset;
        int blocks = count(in, 8, "blocks");
        blockOffsets = new long[blocks];
        for (int i = 0; i < blocks; i++) {
            blockOffsets[i] = in.getLong();
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
        int rows = count(in, FileFormat.STATISTICS_BYTES, "statistics");
        statistics = new long[rows][];
        for (int i = 0; i < rows; i++) {
            int state = in.getShort() & 0xFFFF;
            int aux = in.getShort() & 0xFFFF;
            statistics[i] = new long[] {state, aux, in.getInt() & 0xFFFF_FFFFL, in.getLong(), in.getLong()};
        }
        require(in.remaining() == 8, "footer has a wrong length", "left_bytes=" + in.remaining());
        segmentNumber = in.getLong();
        checkBlocks();
        checkExtents();
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
                    (first || later) && at + FileFormat.BLOCK_HEADER_BYTES < offset,
                    "block offset does not fit",
                    "block=" + i + ", offset=" + at);
            before = at;
        }
        require(
                blockOffsets.length > 0 || offset == FileFormat.HEADER_BYTES,
                "file without blocks has bytes before its footer",
                "footer_offset=" + offset);
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

    /** Where a block's bytes end. */
    long blockEnd(int block) {
        return block + 1 < blockOffsets.length ? blockOffsets[block + 1] : offset;
    }

    /** Reads header, trailer and footer. */
    static Footer read(FileSource source) throws IOException {
        long length = source.length();
        if (length < FileFormat.HEADER_BYTES + FileFormat.TRAILER_BYTES) {
            throw Corruption.corrupt("file is too short", source.name(), "bytes=" + length);
        }
        readHeader(source);
        ByteBuffer trailer = read(source, length - FileFormat.TRAILER_BYTES, FileFormat.TRAILER_BYTES);
        long offset = trailer.getLong();
        int bytes = trailer.getInt();
        int stored = trailer.getInt();
        long version = trailer.getInt() & 0xFFFF_FFFFL;
        int reserved = trailer.getInt();
        if (trailer.getLong() != FileFormat.TRAILER_MAGIC || reserved != 0) {
            throw Corruption.corrupt("trailer is missing: the file was cut off or is no slimbase file", source.name(), "bytes=" + length);
        }
        checkVersion(source, version);
        if (bytes < 0
                || bytes > FOOTER_LIMIT
                || offset < FileFormat.HEADER_BYTES
                || offset != length - FileFormat.TRAILER_BYTES - bytes) {
            throw Corruption.corrupt(
                    "footer does not fit the file", source.name(), "offset=" + offset + ", footer_bytes=" + bytes + ", bytes=" + length);
        }
        ByteBuffer footer = read(source, offset, bytes);
        CRC32C checksum = new CRC32C();
        checksum.update(footer.array(), 0, bytes);
        if ((int) checksum.getValue() != stored) {
            throw Corruption.checksum(source.name(), "block=`footer`", stored, (int) checksum.getValue());
        }
        return new Footer(source.name(), footer, offset);
    }

    private static void readHeader(FileSource source) throws IOException {
        ByteBuffer header = read(source, 0, FileFormat.HEADER_BYTES);
        if (header.getLong() != FileFormat.HEADER_MAGIC) {
            throw Corruption.corrupt("file is no slimbase file", source.name(), "bytes=" + source.length());
        }
        checkVersion(source, header.getShort() & 0xFFFF);
        if (header.getShort() != 0 || header.getInt() != 0) {
            throw Corruption.corrupt("header does not fit", source.name(), "bytes=" + source.length());
        }
    }

    private static void checkVersion(FileSource source, long version) {
        if (version > FileFormat.VERSION) {
            throw Corruption.newer(source.name(), version);
        }
        if (version != FileFormat.VERSION) {
            throw Corruption.corrupt("version does not fit", source.name(), "version=" + version);
        }
    }

    static ByteBuffer read(FileSource source, long position, int bytes) throws IOException {
        byte[] content = new byte[bytes];
        read(source, position, content, bytes);
        return ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN);
    }

    static void read(FileSource source, long position, byte[] to, int bytes) throws IOException {
        try {
            source.read(position, to, 0, bytes);
        } catch (EOFException e) {
            throw Corruption.corrupt(
                    "file is cut off", source.name(), "position=" + position + ", wanted_bytes=" + bytes + ", bytes=" + source.length(), e);
        }
    }
}
