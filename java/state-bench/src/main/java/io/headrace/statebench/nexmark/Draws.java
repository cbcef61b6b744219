package io.headrace.statebench.nexmark;

import java.nio.charset.StandardCharsets;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.binary.BinaryStringData;

/** Random numbers and texts of one event: a SplitMix64 stream that starts from the event's number. */
final class Draws {

    private static final long GOLDEN = 0x9E3779B97F4A7C15L;
    private static final int LETTERS = 1 << 16;
    private static final int PRICE_DECADES = 6;
    private static final double CENTS = 100.0;

    /** Text is cut out of this, without a copy: making up letters would cost more than the query. */
    private final byte[] letters = new byte[2 * LETTERS];
    private long state;

    Draws() {
        seed(0);
        for (int i = 0; i < letters.length; i++) {
            letters[i] = (byte) ('a' + below(26));
        }
    }

    void seed(long number) {
        state = number * 0xD1342543DE82EF95L + 1;
    }

    private long bits() {
        state += GOLDEN;
        long z = (state ^ (state >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }

    /** A number in [0, bound). */
    long below(long bound) {
        return Math.multiplyHigh(bits() >>> 1, bound << 1);
    }

    /** True in (ratio - 1) of ratio cases: how the specification says "hot". */
    boolean isHot(int ratio) {
        return below(ratio) > 0;
    }

    /** Log-uniform over six decades. */
    long price() {
        double unit = (bits() >>> 11) * 0x1.0p-53;
        return Math.round(Math.pow(10.0, unit * PRICE_DECADES) * CENTS);
    }

    /** Letters. */
    StringData text(int length) {
        return BinaryStringData.fromBytes(letters, (int) below(LETTERS), length);
    }

    /** Text that brings an event to its average size: between 80 % and 120 % of what is missing. */
    StringData extra(int sizeNow, int sizeWanted) {
        int missing = Math.max(1, sizeWanted - sizeNow);
        int spread = Math.max(1, missing / 5);
        return text(missing - spread + (int) below(2L * spread));
    }

    static StringData fixed(String text) {
        return BinaryStringData.fromBytes(text.getBytes(StandardCharsets.UTF_8));
    }
}
