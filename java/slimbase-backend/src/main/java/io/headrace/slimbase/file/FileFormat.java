package io.headrace.slimbase.file;

/** Numbers of the file format, versions 1 to 3. */
final class FileFormat {
    /** `SLIMBASE` and `SLIMFOOT` as they stand in the file, read little-endian. */
    static final long HEADER_MAGIC = 0x455341424D494C53L;

    static final long TRAILER_MAGIC = 0x544F4F464D494C53L;
    /** The newest version: statistics say when a state's entries were used last. Written only where that is known of a state. */
    static final int VERSION = 3;
    static final int VERSION_WITHOUT_TIMES = 2;
    /** Before the footer had the blocks' first entries and the file a filter. */
    static final int VERSION_WITHOUT_FILTER = 1;

    static final int HEADER_BYTES = 16;
    static final int BLOCK_HEADER_BYTES = 16;
    /** Bytes of the block header that its checksum covers. */
    static final int BLOCK_CHECKED_BYTES = 12;

    static final int TRAILER_BYTES = 32;
    /** A lookup reads a block for one entry: two pages of the machine's cache mostly, and enough to compress. */
    static final int BLOCK_LIMIT = 4 << 10;

    static final int CODEC_NONE = 0;
    static final int CODEC_LZ4 = 1;
    /** Compressed bytes are kept only when they save this part of a block: less is not worth decompressing for each lookup. */
    static final int WORTHWHILE_SAVING = 8;

    /** LZ4 expands at most 255 times; a header that promises more lies. */
    static final int LZ4_RATIO_LIMIT = 255;

    static final int ENTRY_TOMBSTONE = 1;
    static final int ENTRY_CHAINED = 2;
    static final int ENTRY_AUX = 4;
    static final int ENTRY_FLAGS = ENTRY_TOMBSTONE | ENTRY_CHAINED | ENTRY_AUX;
    /** Flags, varint state id (two bytes at most), two varint lengths. */
    static final int ENTRY_HEADER_LIMIT = 1 + 2 + 5 + 5;

    /** Per block in the footer: u64 offset, u64 hash, u16 key group, u16 identity and flag. Version 1 has the offset only. */
    static final int BLOCK_ROW_BYTES = 20;

    static final int BLOCK_ROW_BYTES_WITHOUT_FILTER = 8;
    /** Of a block row's identity: the entry before the block has the same key group, identity and hash. */
    static final int CONTINUED = 1 << 15;

    /** u8 kind, u8 0, u16 0, u32 bytes, u32 CRC32C. */
    static final int FILTER_ROW_BYTES = 12;

    static final int FILTER_NONE = 0;
    static final int FILTER_SPLIT_BLOCK_BLOOM = 1;
    static final int FILTER_BLOCK_BYTES = 32;
    static final int EXTENT_BYTES = 16;
    /** Per state id and AUX: u16 state id, u16 AUX, u32 tombstones, u64 entries, u64 raw bytes, from version 3 on i64 latest access. */
    static final int STATISTICS_BYTES = 32;

    static final int STATISTICS_BYTES_WITHOUT_TIMES = 24;
    static final int KEY_GROUP_LIMIT = 1 << 15;
    static final int IDENTITY_LIMIT = 1 << 11;

    private FileFormat() {}

    static int varIntBytes(int value) {
        return value == 0 ? 1 : (38 - Integer.numberOfLeadingZeros(value)) / 7;
    }
}
