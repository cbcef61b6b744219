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
    /** What is read at once of blocks that are read in order: 32 of them, so that calls cost little beside what they bring. */
    static final int PIECE_BYTES = 256 << 10;

    private static final LZ4Factory LZ4 = LZ4Factory.fastestInstance();
    /** What an array can hold, header included. */
    static final long BLOCK_BYTES_LIMIT = Integer.MAX_VALUE - 64;

    final FileSource source;
    final Footer footer;
    private final LZ4SafeDecompressor decompressor = LZ4.safeDecompressor();
    private final CRC32C checksum = new CRC32C();
    private byte[] stored = new byte[0];
    /** Blocks that {@link #stored} holds, from one to before another, and where the first begins in the file. */
    private int storedFrom;

    private int storedTo;
    private long storedOffset;

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

    /** For a file whose footer was read already. */
    static SegmentReader over(FileSource source, Footer footer) {
        return new SegmentReader(source, footer);
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
        return new RangeScan(source.name(), footer, footer.firstExtent(firstKeyGroup), footer.lastExtent(lastKeyGroup));
    }

    /** Reads and checks a block. Who reads blocks in order gets them from pieces of {@link #PIECE_BYTES}. */
    public Block readBlock(int number) throws IOException {
        if (number < storedFrom || number >= storedTo) {
            fetch(number);
        }
        int at = (int) (footer.blockOffsets[number] - storedOffset);
        BlockDecoder.check(source.name(), number, stored, at, (int) (footer.blockEnd(number) - footer.blockOffsets[number]), checksum);
        ByteBuffer fields = ByteBuffer.wrap(stored, at, FileFormat.BLOCK_HEADER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
        int rawBytes = fields.getInt();
        int storedBytes = fields.getInt();
        int codec = fields.getInt();
        if (codec == FileFormat.CODEC_NONE) {
            int from = at + FileFormat.BLOCK_HEADER_BYTES;
            return new Block(number, Arrays.copyOfRange(stored, from, from + storedBytes), storedBytes);
        }
        return new Block(number, decompress(number, at + FileFormat.BLOCK_HEADER_BYTES, storedBytes, rawBytes), rawBytes);
    }

    /** The footer says where blocks end, so that headers and bytes come with one read. */
    private void fetch(int number) throws IOException {
        boolean isNext = number == storedTo && storedTo > 0;
        int to = pieceEnd(number, isNext ? PIECE_BYTES : 0, footer.blockOffsets.length - 1);
        int bytes = (int) (footer.blockEnd(to - 1) - footer.blockOffsets[number]);
        stored = stored.length < bytes ? new byte[bytes] : stored;
        storedTo = 0;
        Trailer.read(source, footer.blockOffsets[number], stored, bytes);
        storedFrom = number;
        storedTo = to;
        storedOffset = footer.blockOffsets[number];
    }

    /** The block after the last one that fits a piece of so many bytes and is no later than `last`; a piece has one block at least. */
    int pieceEnd(int number, int pieceBytes, int last) {
        long offset = footer.blockOffsets[number];
        long bytes = footer.blockEnd(number) - offset;
        if (bytes > BLOCK_BYTES_LIMIT) {
            throw Corruption.corrupt("block is too large", source.name(), "block=" + number + ", bytes=" + bytes);
        }
        int to = number + 1;
        while (to <= last && footer.blockEnd(to) - offset <= pieceBytes) {
            to++;
        }
        return to;
    }

    private byte[] decompress(int number, int at, int storedBytes, int rawBytes) {
        byte[] raw = new byte[rawBytes];
        int bytes;
        try {
            bytes = decompressor.decompress(stored, at, storedBytes, raw, 0, rawBytes);
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
