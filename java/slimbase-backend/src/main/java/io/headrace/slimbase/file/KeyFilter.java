package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.Memory;

/**
 * The filter of a file: whether a key's hash may be in it. A split-block Bloom filter as in Parquet: a hash chooses one block of 32 bytes by its upper
 * half and sets one bit in each of the block's eight words by its lower half, so a question costs one cache miss. With {@link #BITS} bits a key it
 * errs for about one absent key in 200 (LookupFileTest).
 *
 * <p>Source: Putze, Sanders, Singler, "Cache-, hash- and space-efficient Bloom filters", 2009; the salts are those of Parquet's specification.
 */
final class KeyFilter {
    /** Bits a key. */
    static final int BITS = 12;

    static final int WORDS = FileFormat.FILTER_BLOCK_BYTES / Integer.BYTES;
    /** A filter of more would not fit an array; it is for 700 million keys. */
    private static final int BLOCKS_LIMIT = 1 << 25;

    private static final int SALT_0 = 0x47b6137b;
    private static final int SALT_1 = 0x44974d91;
    private static final int SALT_2 = 0x8824ad5b;
    private static final int SALT_3 = 0xa2b7289d;
    private static final int SALT_4 = 0x705495c7;
    private static final int SALT_5 = 0x2df1424b;
    private static final int SALT_6 = 0x9efc4947;
    private static final int SALT_7 = 0x5c6bfb31;

    private KeyFilter() {}

    /** Blocks of a filter for so many keys. */
    static int blocksFor(long keys) {
        long bits = FileFormat.FILTER_BLOCK_BYTES * 8L;
        return (int) Math.max(1, Math.min(BLOCKS_LIMIT, (keys * BITS + bits - 1) / bits));
    }

    private static int block(long hash, int blocks) {
        return (int) ((hash >>> 32) * blocks >>> 32);
    }

    static void add(int[] words, int blocks, long hash) {
        int at = block(hash, blocks) * WORDS;
        int key = (int) hash;
        words[at] |= 1 << (key * SALT_0 >>> 27);
        words[at + 1] |= 1 << (key * SALT_1 >>> 27);
        words[at + 2] |= 1 << (key * SALT_2 >>> 27);
        words[at + 3] |= 1 << (key * SALT_3 >>> 27);
        words[at + 4] |= 1 << (key * SALT_4 >>> 27);
        words[at + 5] |= 1 << (key * SALT_5 >>> 27);
        words[at + 6] |= 1 << (key * SALT_6 >>> 27);
        words[at + 7] |= 1 << (key * SALT_7 >>> 27);
    }

    /** Looks into a filter in memory outside the heap. */
    static boolean mayContain(long filter, int blocks, long hash) {
        long at = filter + (long) block(hash, blocks) * FileFormat.FILTER_BLOCK_BYTES;
        int key = (int) hash;
        int all =
                Memory.getInt(at) >>> (key * SALT_0 >>> 27)
                        & Memory.getInt(at + 4) >>> (key * SALT_1 >>> 27)
                        & Memory.getInt(at + 8) >>> (key * SALT_2 >>> 27)
                        & Memory.getInt(at + 12) >>> (key * SALT_3 >>> 27)
                        & Memory.getInt(at + 16) >>> (key * SALT_4 >>> 27)
                        & Memory.getInt(at + 20) >>> (key * SALT_5 >>> 27)
                        & Memory.getInt(at + 24) >>> (key * SALT_6 >>> 27)
                        & Memory.getInt(at + 28) >>> (key * SALT_7 >>> 27);
        return (all & 1) != 0;
    }
}
