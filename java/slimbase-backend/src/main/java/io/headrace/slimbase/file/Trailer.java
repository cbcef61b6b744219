package io.headrace.slimbase.file;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** A file's last bytes, which say where its footer is; checked against the file's length. */
final class Trailer {
    private static final int FOOTER_LIMIT = 1 << 30;

    final long footerOffset;
    final int footerBytes;
    final int footerChecksum;
    final int version;
    /** Bytes of the filter, which ends where the footer begins; the footer says so too. */
    final int filterBytes;
    /** As it stands in the file. */
    final byte[] stored;

    private Trailer(FileSource source, ByteBuffer in) {
        stored = in.array();
        footerOffset = in.getLong();
        footerBytes = in.getInt();
        footerChecksum = in.getInt();
        long stated = in.getInt() & 0xFFFF_FFFFL;
        filterBytes = in.getInt();
        long length = source.length();
        if (in.getLong() != FileFormat.TRAILER_MAGIC) {
            throw Corruption.corrupt("trailer is missing: the file was cut off or is no slimbase file", source.name(), "bytes=" + length);
        }
        checkVersion(source, stated);
        version = (int) stated;
        boolean fits =
                footerBytes >= 0
                        && footerBytes <= FOOTER_LIMIT
                        && filterBytes >= 0
                        && filterBytes % FileFormat.FILTER_BLOCK_BYTES == 0
                        && (filterBytes == 0 || version != FileFormat.VERSION_WITHOUT_FILTER)
                        && (long) filterBytes + footerBytes < SegmentReader.BLOCK_BYTES_LIMIT
                        && footerOffset - filterBytes >= FileFormat.HEADER_BYTES
                        && footerOffset == length - FileFormat.TRAILER_BYTES - footerBytes;
        if (!fits) {
            throw Corruption.corrupt(
                    "footer does not fit the file",
                    source.name(),
                    "offset=" + footerOffset + ", footer_bytes=" + footerBytes + ", filter_bytes=" + filterBytes + ", bytes=" + length);
        }
    }

    /** Where the last block ends. */
    long blocksEnd() {
        return footerOffset - filterBytes;
    }

    static Trailer read(FileSource source) throws IOException {
        long length = source.length();
        if (length < FileFormat.HEADER_BYTES + FileFormat.TRAILER_BYTES) {
            throw Corruption.corrupt("file is too short", source.name(), "bytes=" + length);
        }
        return new Trailer(source, read(source, length - FileFormat.TRAILER_BYTES, FileFormat.TRAILER_BYTES));
    }

    /** One read of what lies between the blocks and the trailer. */
    byte[] readFilterAndFooter(FileSource source) throws IOException {
        return read(source, blocksEnd(), filterBytes + footerBytes).array();
    }

    /** Reads and checks the header, and gives it; its version must be the trailer's. */
    byte[] checkHeader(FileSource source) throws IOException {
        ByteBuffer header = read(source, 0, FileFormat.HEADER_BYTES);
        if (header.getLong() != FileFormat.HEADER_MAGIC) {
            throw Corruption.corrupt("file is no slimbase file", source.name(), "bytes=" + source.length());
        }
        int stated = header.getShort() & 0xFFFF;
        checkVersion(source, stated);
        if (stated != version || header.getShort() != 0 || header.getInt() != 0) {
            throw Corruption.corrupt(
                    "header does not fit", source.name(), "version=" + stated + ", trailer_version=" + version + ", bytes=" + source.length());
        }
        return header.array();
    }

    private static void checkVersion(FileSource source, long version) {
        if (version > FileFormat.VERSION) {
            throw Corruption.newer(source.name(), version);
        }
        if (version < FileFormat.VERSION_WITHOUT_FILTER) {
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
            throw cutOff(source, position, bytes, e);
        }
    }

    static void read(FileSource source, long position, ByteBuffer to) throws IOException {
        int bytes = to.remaining();
        try {
            source.read(position, to);
        } catch (EOFException e) {
            throw cutOff(source, position, bytes, e);
        }
    }

    private static RuntimeException cutOff(FileSource source, long position, int bytes, EOFException cause) {
        return Corruption.corrupt(
                "file is cut off", source.name(), "position=" + position + ", wanted_bytes=" + bytes + ", bytes=" + source.length(), cause);
    }
}
