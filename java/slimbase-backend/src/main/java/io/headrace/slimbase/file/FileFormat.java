package io.headrace.slimbase.file;

/** Numbers of the file format, version 1. */
final class FileFormat {
    /** `SLIMBASE` and `SLIMFOOT` as they stand in the file, read little-endian. */
    static final long HEADER_MAGIC = 0x455341424D494C53L;

    static final long TRAILER_MAGIC = 0x544F4F464D494C53L;
    static final int VERSION = 1;
    static final int HEADER_BYTES = 16;
    static final int BLOCK_HEADER_BYTES = 16;
    /** Bytes of the block header that its checksum covers. */
    static final int BLOCK_CHECKED_BYTES = 12;

    static final int TRAILER_BYTES = 32;
    static final int BLOCK_LIMIT = 32 << 10;
    static final int CODEC_NONE = 0;
    static final int CODEC_LZ4 = 1;
    /** LZ4 expands at most 255 times; a header that promises more lies. */
    static final int LZ4_RATIO_LIMIT = 255;

    static final int ENTRY_TOMBSTONE = 1;
    static final int ENTRY_CHAINED = 2;
    static final int ENTRY_AUX = 4;
    static final int ENTRY_FLAGS = ENTRY_TOMBSTONE | ENTRY_CHAINED | ENTRY_AUX;
    /** Flags, varint state id (two bytes at most), two varint lengths. */
    static final int ENTRY_HEADER_LIMIT = 1 + 2 + 5 + 5;

    static final int EXTENT_BYTES = 16;
    static final int STATISTICS_BYTES = 24;
    static final int KEY_GROUP_LIMIT = 1 << 15;
    static final int IDENTITY_LIMIT = 1 << 11;

    private FileFormat() {}

    static int varIntBytes(int value) {
        return value == 0 ? 1 : (38 - Integer.numberOfLeadingZeros(value)) / 7;
    }
}
