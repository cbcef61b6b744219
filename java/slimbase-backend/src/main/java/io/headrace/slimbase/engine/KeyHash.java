package io.headrace.slimbase.engine;

/** The hash of key bytes, the same in Rust; docs/concepts/slimbase-format.md, section Hash. */
public final class KeyHash {
    private static final long M = 0x9E3779B97F4A7C15L;
    private static final long M2 = 0xD6E8FEB86659FD93L;
    private static final long LENGTH = 0xC2B2AE3D27D4EB4FL;

    private KeyHash() {}

    public static long hash(int identity, long key, int keyLength) {
        long h = identity * M ^ keyLength * LENGTH;
        int done = 0;
        for (; done + 8 <= keyLength; done += 8) {
            h = (h ^ Memory.getLong(key + done)) * M;
            h ^= h >>> 29;
        }
        if (done < keyLength) {
            h = (h ^ tail(key + done, keyLength - done)) * M;
            h ^= h >>> 29;
        }
        h ^= h >>> 32;
        h *= M2;
        return h ^ h >>> 29;
    }

    private static long tail(long at, int bytes) {
        long word = 0;
        for (int i = 0; i < bytes; i++) {
            word |= (Memory.getByte(at + i) & 0xFFL) << 8 * i;
        }
        return word;
    }

    static int tag(long hash) {
        return (int) (hash >>> 40);
    }
}
