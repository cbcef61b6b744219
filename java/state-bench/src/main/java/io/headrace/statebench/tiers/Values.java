package io.headrace.statebench.tiers;

import io.headrace.statebench.micro.KeyStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Values that no compression makes smaller, and that tell whose they are: a check sees a value of another key, or a stale one. */
final class Values {

    private static final long GOLDEN = 0x9E3779B97F4A7C15L;

    private Values() {}

    /** Bytes of key, version, then random ones made from both. */
    static byte[] make(long key, int version, int bytes) {
        ByteBuffer out = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
        out.putLong(key).putInt(version);
        long state = key * GOLDEN + version;
        while (out.remaining() >= Long.BYTES) {
            state += GOLDEN;
            out.putLong(KeyStream.mix(state));
        }
        while (out.hasRemaining()) {
            out.put((byte) KeyStream.mix(state += GOLDEN));
        }
        return out.array();
    }

    static int version(byte[] value) {
        return ByteBuffer.wrap(value).order(ByteOrder.LITTLE_ENDIAN).getInt(Long.BYTES);
    }

    /** Throws AssertionError unless the value is one of this key, whole. */
    static void check(long key, byte[] value, int bytes) {
        if (value == null || value.length != bytes || !Arrays.equals(value, make(key, version(value), bytes))) {
            throw new AssertionError("wrong state, key=" + key + ", found=`" + Arrays.toString(value) + "`");
        }
    }

    /** The cheap part of {@link #check}. */
    static void checkOwner(long key, byte[] value) {
        if (value == null || ByteBuffer.wrap(value).order(ByteOrder.LITTLE_ENDIAN).getLong(0) != key) {
            throw new AssertionError("wrong state, key=" + key + ", found=`" + Arrays.toString(value) + "`");
        }
    }
}
