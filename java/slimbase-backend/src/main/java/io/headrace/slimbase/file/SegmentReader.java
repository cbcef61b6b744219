package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.SlimBaseException;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.zip.CRC32C;
import net.jpountz.lz4.LZ4Exception;
import net.jpountz.lz4.LZ4Factory;
import net.jpountz.lz4.LZ4SafeDecompressor;

/**
 * Reads a file's entries. Opening reads header, trailer and footer; blocks are read one by one.
 *
 * <p>Throws {@code Corrupt} for whatever does not fit, {@code Unsupported} for a newer version, and {@link IOException} when the source does not answer.
 */
public final class SegmentReader implements Closeable {
    private static final LZ4Factory LZ4 = LZ4Factory.fastestInstance();
    /** What an array can hold, header included. */
    private static final long BLOCK_BYTES_LIMIT = Integer.MAX_VALUE - 64;

    private final FileSource source;
    private final Footer footer;
    private final LZ4SafeDecompressor decompressor = LZ4.safeDecompressor();
    private final CRC32C checksum = new CRC32C();
    private byte[] stored = new byte[0];

    private SegmentReader(FileSource source, Footer footer) {
        this.source = source;
        this.footer = footer;
    }

    /** Opens the file; the source is closed with the reader, or at once when opening fails. */
    public static SegmentReader open(FileSource source) throws IOException {
        try {
            return new SegmentReader(source, Footer.read(source));
        } catch (SlimBaseException | IOException e) {
            source.close();
            throw e;
        }
    }

    /** The number that the writer gave the segment. */
    public long segmentNumber() {
        return footer.segmentNumber;
    }

    /** How many blocks the file has. */
    public int blockCount() {
        return footer.blockOffsets.length;
    }

    /** Entries of the whole file, by its extents. */
    public long entryCount() {
        return Arrays.stream(footer.entryCounts).asLongStream().sum();
    }

    /** Rows of state id, AUX, tombstones, entries, raw bytes. */
    public long[][] statistics() {
        return footer.statistics;
    }

    /** Reads the entries of the key groups from the first to the last, both included. */
    public void forEach(int firstKeyGroup, int lastKeyGroup, EntryVisitor visitor) throws IOException {
        try (RangeScan scan = scan(firstKeyGroup, lastKeyGroup)) {
            for (int block = scan.firstBlock(); block <= scan.lastBlock(); block++) {
                scan.parse(readBlock(block), visitor);
            }
            scan.finish();
        }
    }

    /** The blocks of a key-group range, for readers that fetch and apply in different threads. */
    public RangeScan scan(int firstKeyGroup, int lastKeyGroup) {
        int first = 0;
        while (first < footer.keyGroups.length && footer.keyGroups[first] < firstKeyGroup) {
            first++;
        }
        int last = first - 1;
        while (last + 1 < footer.keyGroups.length && footer.keyGroups[last + 1] <= lastKeyGroup) {
            last++;
        }
        return new RangeScan(source.name(), footer, first, last);
    }

    /** Reads and checks a block. */
    public Block readBlock(int number) throws IOException {
        long offset = footer.blockOffsets[number];
        long body = footer.blockEnd(number) - offset - FileFormat.BLOCK_HEADER_BYTES;
        if (body > BLOCK_BYTES_LIMIT) {
            throw Corruption.corrupt("block is too large", source.name(), "block=" + number + ", bytes=" + body);
        }
        // The footer says where the block ends, so that header and bytes come with one read.
        int bytes = FileFormat.BLOCK_HEADER_BYTES + (int) body;
        stored = stored.length < bytes ? new byte[bytes] : stored;
        Footer.read(source, offset, stored, bytes);
        ByteBuffer fields = ByteBuffer.wrap(stored).order(ByteOrder.LITTLE_ENDIAN);
        int rawBytes = fields.getInt();
        int storedBytes = fields.getInt();
        int codec = fields.getInt();
        int crc = fields.getInt();
        checkLengths(number, rawBytes, storedBytes, codec, body);
        checksum.reset();
        checksum.update(stored, 0, FileFormat.BLOCK_CHECKED_BYTES);
        checksum.update(stored, FileFormat.BLOCK_HEADER_BYTES, storedBytes);
        if ((int) checksum.getValue() != crc) {
            throw Corruption.checksum(source.name(), "block=" + number, crc, (int) checksum.getValue());
        }
        if (codec == FileFormat.CODEC_NONE) {
            return new Block(number, Arrays.copyOfRange(stored, FileFormat.BLOCK_HEADER_BYTES, bytes), storedBytes);
        }
        return new Block(number, decompress(number, storedBytes, rawBytes), rawBytes);
    }

    private void checkLengths(int number, int rawBytes, int storedBytes, int codec, long body) {
        boolean fits =
                storedBytes > 0
                        && storedBytes == body
                        && rawBytes > 0
                        && (codec == FileFormat.CODEC_NONE && rawBytes == storedBytes
                                || codec == FileFormat.CODEC_LZ4
                                        && rawBytes <= (long) storedBytes * FileFormat.LZ4_RATIO_LIMIT + FileFormat.BLOCK_LIMIT);
        if (!fits) {
            throw Corruption.corrupt(
                    "block header does not fit",
                    source.name(),
                    "block=" + number + ", raw_bytes=" + rawBytes + ", stored_bytes=" + storedBytes + ", codec=" + codec
                            + ", bytes=" + body);
        }
    }

    private byte[] decompress(int number, int storedBytes, int rawBytes) {
        byte[] raw = new byte[rawBytes];
        int bytes;
        try {
            bytes = decompressor.decompress(stored, FileFormat.BLOCK_HEADER_BYTES, storedBytes, raw, 0, rawBytes);
        } catch (LZ4Exception e) {
            throw Corruption.corrupt("block does not decompress", source.name(), "block=" + number, e);
        }
        if (bytes != rawBytes) {
            throw Corruption.corrupt(
                    "block does not decompress to its length",
                    source.name(),
                    "block=" + number + ", raw_bytes=" + rawBytes + ", bytes=" + bytes);
        }
        return raw;
    }

    @Override
    public void close() throws IOException {
        source.close();
    }
}
