package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.KeyHash;
import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.SlimBaseException;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.zip.CRC32C;
import net.jpountz.lz4.LZ4Compressor;
import net.jpountz.lz4.LZ4Factory;

/**
 * Packs entries, which come in the file's order, into blocks, and ends the file with its filter, footer and trailer.
 *
 * <p>Holds one block, its compressed form, the footer's lists, and what the filter is made of: 1.5 bytes an entry when the caller knows a bound of
 * their number, else 8. The stream belongs to the caller and is neither flushed nor closed.
 */
public final class FileBuilder {
    private static final LZ4Factory LZ4 = LZ4Factory.fastestInstance();

    private final OutputStream out;
    private final long segmentNumber;
    private final LZ4Compressor compressor = LZ4.fastCompressor();
    private final CRC32C checksum = new CRC32C();
    private byte[] block = new byte[FileFormat.BLOCK_LIMIT];
    private byte[] packed = new byte[0];
    private int blockBytes;
    private long position;

    /** Offset, hash of the first entry, and its key group and identity of each block. */
    private long[] blocks = new long[3 * 16];

    private int blockCount;
    /** Key group in the upper half, identity with the flag in the lower one. */
    private int firstPlace;

    private long firstHash;
    private final FilterBuilder filter;
    private final AccessTimes times;
    /** Key group, block, offset, entries of each extent. */
    private int[] extents = new int[64];

    private int extentCount;
    private int lastKeyGroup = -1;
    private int lastIdentity;
    private long lastHash;
    private final long[][] statistics = new long[FileFormat.IDENTITY_LIMIT][];
    private long entries;
    private long rawBytes;

    /** Writes the header. How many entries will come is not known. */
    public FileBuilder(OutputStream out, long segmentNumber) throws IOException {
        this(out, segmentNumber, new FilterBuilder(), null);
    }

    /** Writes the header; `times`, if there are any, tell when entries were used last. */
    FileBuilder(OutputStream out, long segmentNumber, AccessTimes times) throws IOException {
        this(out, segmentNumber, new FilterBuilder(), times);
    }

    /**
     * Writes the header.
     *
     * @param entriesAtMost a bound of the number of entries, the closer the better
     */
    public FileBuilder(OutputStream out, long segmentNumber, long entriesAtMost) throws IOException {
        this(out, segmentNumber, entriesAtMost, null);
    }

    /** The same; `times`, if there are any, tell when entries were used last. */
    FileBuilder(OutputStream out, long segmentNumber, long entriesAtMost, AccessTimes times) throws IOException {
        this(out, segmentNumber, new FilterBuilder(entriesAtMost), times);
    }

    private FileBuilder(OutputStream out, long segmentNumber, FilterBuilder filter, AccessTimes times) throws IOException {
        this.out = out;
        this.segmentNumber = segmentNumber;
        this.filter = filter;
        this.times = times;
        ByteBuffer header = littleEndian(FileFormat.HEADER_BYTES);
        header.putLong(FileFormat.HEADER_MAGIC).putShort((short) version());
        write(header.array(), FileFormat.HEADER_BYTES);
    }

    private int version() {
        return times == null ? FileFormat.VERSION_WITHOUT_TIMES : FileFormat.VERSION;
    }

    static ByteBuffer littleEndian(int bytes) {
        return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    }

    /**
     * Adds an entry.
     *
     * @param flags 1: tombstone, 2: chained
     */
    public void add(int keyGroup, int identity, int flags, long key, int keyLength, long value, int valueLength)
            throws IOException {
        int header =
                1
                        + FileFormat.varIntBytes(identity >>> 1)
                        + FileFormat.varIntBytes(keyLength)
                        + FileFormat.varIntBytes(valueLength);
        long wanted = (long) header + keyLength + valueLength;
        if (wanted > Integer.MAX_VALUE - 64) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unsupported,
                    "entry is too large for a file, key_bytes=" + keyLength + ", value_bytes=" + valueLength,
                    "split the value over several keys",
                    null);
        }
        int size = (int) wanted;
        if (blockBytes > 0 && blockBytes + (long) size > FileFormat.BLOCK_LIMIT) {
            flushBlock();
        }
        if (size > block.length) {
            block = Arrays.copyOf(block, size);
        }
        place(keyGroup, identity, KeyHash.hash(identity, key, keyLength));
        int at = blockBytes;
        block[at++] = (byte) (flags | (identity & 1) << 2);
        at = putVarInt(at, identity >>> 1);
        at = putVarInt(at, keyLength);
        at = putVarInt(at, valueLength);
        if (value == key + keyLength) {
            Memory.copyToArray(key, block, at, keyLength + valueLength);
        } else {
            Memory.copyToArray(key, block, at, keyLength);
            Memory.copyToArray(value, block, at + keyLength, valueLength);
        }
        blockBytes += size;
        count(identity, flags, size);
        if (times != null && (flags & FileFormat.ENTRY_TOMBSTONE) == 0) {
            long[] row = statistics[identity];
            row[3] = Math.max(row[3], times.latest(identity, value, valueLength));
        }
    }

    private int putVarInt(int at, int value) {
        int next = at;
        int rest = value;
        while ((rest & ~0x7F) != 0) {
            block[next++] = (byte) (rest | 0x80);
            rest >>>= 7;
        }
        block[next++] = (byte) rest;
        return next;
    }

    /** Notes where the entry is to be found; before its bytes are added. */
    private void place(int keyGroup, int identity, long hash) {
        boolean isSameState = keyGroup == lastKeyGroup && identity == lastIdentity;
        assert isInOrder(keyGroup, identity, hash) : "out of order: " + keyGroup + "/" + identity + "/" + hash;
        if (blockBytes == 0) {
            boolean continued = isSameState && hash == lastHash;
            firstPlace = keyGroup << 16 | identity | (continued ? FileFormat.CONTINUED : 0);
            firstHash = hash;
        }
        countExtent(keyGroup);
        filter.add(hash);
        lastIdentity = identity;
        lastHash = hash;
    }

    private boolean isInOrder(int keyGroup, int identity, long hash) {
        if (keyGroup != lastKeyGroup) {
            return keyGroup > lastKeyGroup;
        }
        return identity > lastIdentity || identity == lastIdentity && Long.compareUnsigned(hash, lastHash) >= 0;
    }

    private void countExtent(int keyGroup) {
        if (keyGroup != lastKeyGroup) {
            if (extentCount * 4 == extents.length) {
                extents = Arrays.copyOf(extents, extents.length * 2);
            }
            extents[extentCount * 4] = keyGroup;
            extents[extentCount * 4 + 1] = blockCount;
            extents[extentCount * 4 + 2] = blockBytes;
            extentCount++;
            lastKeyGroup = keyGroup;
        }
        extents[(extentCount - 1) * 4 + 3]++;
    }

    private void count(int identity, int flags, int size) {
        long[] row = statistics[identity];
        if (row == null) {
            row = statistics[identity] = new long[] {0, 0, 0, AccessTimes.NEVER};
        }
        row[0] += flags & FileFormat.ENTRY_TOMBSTONE;
        row[1]++;
        row[2] += size;
        entries++;
        rawBytes += size;
    }

    private void flushBlock() throws IOException {
        // Header and bytes go out in one piece: a stream with a small buffer would write the header by itself.
        int limit = FileFormat.BLOCK_HEADER_BYTES + compressor.maxCompressedLength(blockBytes);
        packed = packed.length < limit ? new byte[limit] : packed;
        int stored =
                compressor.compress(
                        block, 0, blockBytes, packed, FileFormat.BLOCK_HEADER_BYTES, limit - FileFormat.BLOCK_HEADER_BYTES);
        boolean worth = stored <= blockBytes - blockBytes / FileFormat.WORTHWHILE_SAVING;
        if (!worth) {
            stored = blockBytes;
            System.arraycopy(block, 0, packed, FileFormat.BLOCK_HEADER_BYTES, stored);
        }
        ByteBuffer header = ByteBuffer.wrap(packed, 0, FileFormat.BLOCK_HEADER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
        header.putInt(blockBytes).putInt(stored).putInt(worth ? FileFormat.CODEC_LZ4 : FileFormat.CODEC_NONE);
        checksum.reset();
        checksum.update(packed, 0, FileFormat.BLOCK_CHECKED_BYTES);
        checksum.update(packed, FileFormat.BLOCK_HEADER_BYTES, stored);
        header.putInt((int) checksum.getValue());
        if (blockCount * 3 == blocks.length) {
            blocks = Arrays.copyOf(blocks, blocks.length * 2);
        }
        blocks[blockCount * 3] = position;
        blocks[blockCount * 3 + 1] = firstHash;
        blocks[blockCount * 3 + 2] = firstPlace;
        blockCount++;
        write(packed, FileFormat.BLOCK_HEADER_BYTES + stored);
        blockBytes = 0;
        if (block.length > FileFormat.BLOCK_LIMIT) {
            block = new byte[FileFormat.BLOCK_LIMIT];
            packed = new byte[0];
        }
    }

    private void write(byte[] bytes, int length) throws IOException {
        out.write(bytes, 0, length);
        position += length;
    }

    /** Bytes written so far; the current block comes later. */
    long position() {
        return position;
    }

    /** Writes what is left, filter, footer and trailer. Nothing may be added afterwards. */
    public FileStatistics finish() throws IOException {
        if (blockBytes > 0) {
            flushBlock();
        }
        byte[] filterBytes = filter.finish();
        write(filterBytes, filterBytes.length);
        ByteBuffer footer = footer(filterBytes);
        long footerOffset = position;
        checksum.reset();
        checksum.update(footer.array(), 0, footer.capacity());
        ByteBuffer trailer = littleEndian(FileFormat.TRAILER_BYTES);
        trailer.putLong(footerOffset).putInt(footer.capacity()).putInt((int) checksum.getValue());
        trailer.putInt(version()).putInt(filterBytes.length).putLong(FileFormat.TRAILER_MAGIC);
        write(footer.array(), footer.capacity());
        write(trailer.array(), FileFormat.TRAILER_BYTES);
        return new FileStatistics(position, entries, rawBytes, LookupIndex.memoryBytesOf(filterBytes.length, footer.capacity()));
    }

    private ByteBuffer footer(byte[] filterBytes) {
        int rowBytes = times == null ? FileFormat.STATISTICS_BYTES_WITHOUT_TIMES : FileFormat.STATISTICS_BYTES;
        int rows = (int) Arrays.stream(statistics).filter(row -> row != null).count();
        ByteBuffer footer =
                littleEndian(
                        4 + blockCount * FileFormat.BLOCK_ROW_BYTES
                                + 4 + extentCount * FileFormat.EXTENT_BYTES
                                + 4 + rows * rowBytes
                                + FileFormat.FILTER_ROW_BYTES
                                + 8);
        footer.putInt(blockCount);
        for (int i = 0; i < blockCount * 3; i += 3) {
            int place = (int) blocks[i + 2];
            footer.putLong(blocks[i]).putLong(blocks[i + 1]).putShort((short) (place >>> 16)).putShort((short) place);
        }
        footer.putInt(extentCount);
        for (int i = 0; i < extentCount * 4; i += 4) {
            footer.putInt(extents[i]).putInt(extents[i + 1]).putInt(extents[i + 2]).putInt(extents[i + 3]);
        }
        footer.putInt(rows);
        for (int identity = 0; identity < statistics.length; identity++) {
            long[] row = statistics[identity];
            if (row != null) {
                footer.putShort((short) (identity >>> 1)).putShort((short) (identity & 1)).putInt((int) row[0]);
                footer.putLong(row[1]).putLong(row[2]);
                if (times != null) {
                    footer.putLong(row[3]);
                }
            }
        }
        checksum.reset();
        checksum.update(filterBytes, 0, filterBytes.length);
        footer.putInt(filterBytes.length == 0 ? FileFormat.FILTER_NONE : FileFormat.FILTER_SPLIT_BLOCK_BLOOM);
        footer.putInt(filterBytes.length).putInt((int) checksum.getValue());
        footer.putLong(segmentNumber);
        return footer;
    }
}
