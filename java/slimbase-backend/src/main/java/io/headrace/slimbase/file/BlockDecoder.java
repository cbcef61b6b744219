package io.headrace.slimbase.file;

import java.io.Closeable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.zip.CRC32C;
import net.jpountz.lz4.LZ4Exception;
import net.jpountz.lz4.LZ4Factory;
import net.jpountz.lz4.LZ4SafeDecompressor;

/** Checks and decodes blocks outside the heap, without garbage. Holds one raw block. */
final class BlockDecoder implements Closeable {
    private final LZ4SafeDecompressor decompressor = LZ4Factory.fastestInstance().safeDecompressor();
    private final CRC32C checksum = new CRC32C();
    private final DirectScratch raw = new DirectScratch();
    private long address;
    private int bytes;

    /** Where the raw block lies: until the next call, and as long as the stored bytes are. */
    long address() {
        return address;
    }

    /** Length of the raw block. */
    int bytes() {
        return bytes;
    }

    /**
     * Decodes a block.
     *
     * @param file its name, and the block's number in it, for messages
     * @param stored a direct buffer, which holds the block's header and bytes from {@code at} on
     * @param storedAddress where the buffer's memory begins
     */
    void decode(String file, int number, ByteBuffer stored, long storedAddress, int at, int length) {
        stored.order(ByteOrder.LITTLE_ENDIAN);
        int body = length - FileFormat.BLOCK_HEADER_BYTES;
        int rawBytes = stored.getInt(at);
        int codec = stored.getInt(at + 8);
        checkLengths(file, number, rawBytes, stored.getInt(at + 4), codec, body);
        checksum.reset();
        update(stored, at, FileFormat.BLOCK_CHECKED_BYTES);
        update(stored, at + FileFormat.BLOCK_HEADER_BYTES, body);
        int crc = stored.getInt(at + FileFormat.BLOCK_CHECKED_BYTES);
        if ((int) checksum.getValue() != crc) {
            throw Corruption.checksum(file, "block=" + number, crc, (int) checksum.getValue());
        }
        bytes = rawBytes;
        if (codec == FileFormat.CODEC_NONE) {
            address = storedAddress + at + FileFormat.BLOCK_HEADER_BYTES;
        } else {
            decompress(file, number, stored, at + FileFormat.BLOCK_HEADER_BYTES, body);
            address = raw.address();
        }
    }

    private void update(ByteBuffer stored, int from, int count) {
        stored.limit(from + count).position(from);
        checksum.update(stored);
    }

    private void decompress(String file, int number, ByteBuffer stored, int from, int body) {
        ByteBuffer to = raw.ofAtLeast(bytes);
        to.clear();
        stored.clear();
        int count;
        try {
            count = decompressor.decompress(stored, from, body, to, 0, bytes);
        } catch (LZ4Exception e) {
            throw Corruption.corrupt("block does not decompress", file, "block=" + number, e);
        }
        if (count != bytes) {
            throw Corruption.corrupt(
                    "block does not decompress to its length", file, "block=" + number + ", raw_bytes=" + bytes + ", bytes=" + count);
        }
    }

    /** Refuses a stored block, header included, that does not fit its place in the file or its checksum; the checksum's state is the caller's. */
    static void check(String file, int number, byte[] stored, int at, int length, CRC32C checksum) {
        ByteBuffer fields = ByteBuffer.wrap(stored, at, FileFormat.BLOCK_HEADER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
        int rawBytes = fields.getInt();
        int storedBytes = fields.getInt();
        checkLengths(file, number, rawBytes, storedBytes, fields.getInt(), length - FileFormat.BLOCK_HEADER_BYTES);
        int crc = fields.getInt();
        checksum.reset();
        checksum.update(stored, at, FileFormat.BLOCK_CHECKED_BYTES);
        checksum.update(stored, at + FileFormat.BLOCK_HEADER_BYTES, storedBytes);
        if ((int) checksum.getValue() != crc) {
            throw Corruption.checksum(file, "block=" + number, crc, (int) checksum.getValue());
        }
    }

    /** Refuses a block's header that does not fit its place in the file. */
    static void checkLengths(String file, int number, int rawBytes, int storedBytes, int codec, long body) {
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
                    file,
                    "block=" + number + ", raw_bytes=" + rawBytes + ", stored_bytes=" + storedBytes + ", codec=" + codec
                            + ", bytes=" + body);
        }
    }

    @Override
    public void close() {
        raw.close();
    }
}
