package io.headrace.slimbase;

import java.nio.ByteBuffer;
import java.util.List;

/**
 * A range of the serialized keys of a {@code LongSerializer}, which maps order as unsigned bytes: 0 and up come first, then the negative ones,
 * each in the order of numbers. So a range of numbers is one range of bytes, or two when it has numbers of both signs.
 */
final class LongRange {
    private final byte[] from;
    private final byte[] to;

    private LongRange(long from, Long to) {
        this.from = bytes(from);
        this.to = to == null ? null : bytes(to);
    }

    /** The ranges of bytes, in the order of numbers, of the numbers from the first on, up to and without the second (null: without end). */
    static List<LongRange> of(long from, Long to) {
        if (to != null && to <= from) {
            return List.of();
        }
        if (from >= 0) {
            return List.of(notNegative(from, to));
        }
        if (to != null && to <= 0) {
            return List.of(new LongRange(from, to == 0 ? null : to));
        }
        return List.of(new LongRange(from, null), notNegative(0, to));
    }

    private static LongRange notNegative(long from, Long to) {
        return new LongRange(from, to == null ? Long.valueOf(Long.MIN_VALUE) : to);
    }

    private static byte[] bytes(long number) {
        return ByteBuffer.allocate(Long.BYTES).putLong(number).array();
    }

    /** The first serialized key. */
    byte[] from() {
        return from;
    }

    /** The first serialized key behind the range; null when the range goes on to the map's end. */
    byte[] to() {
        return to;
    }
}
