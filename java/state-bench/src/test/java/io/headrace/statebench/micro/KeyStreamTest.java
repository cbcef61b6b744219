package io.headrace.statebench.micro;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.BitSet;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Streams of record numbers are what they are called. */
class KeyStreamTest {

    private static final int N = 500_000;

    /** The load order is a permutation. */
    @Test
    void loadTouchesEachRecordOnce() {
        BitSet seen = new BitSet(N);
        for (long i = 0; i < N; i++) {
            seen.set((int) KeyStream.loadOrder(i, N));
        }
        assertEquals(N, seen.cardinality());
    }

    /** Uniform numbers stay in range and hit almost all records in ten rounds. */
    @Test
    void uniformCoversTheRange() {
        BitSet seen = new BitSet(N);
        KeyStream keys = KeyStream.uniform(N, 1);
        for (int i = 0; i < 10 * N; i++) {
            seen.set(Math.toIntExact(keys.next()));
        }
        assertTrue(seen.length() <= N);
        assertTrue(seen.cardinality() > 0.99 * N);
    }

    /** With exponent 0.99 over 500,000 records the first one gets about 1 / zeta = 7 % of all. */
    @Test
    void zipfIsSkewed() {
        Map<Long, Integer> counts = new HashMap<>();
        KeyStream keys = KeyStream.zipf(N, 1);
        int draws = 1_000_000;
        for (int i = 0; i < draws; i++) {
            counts.merge(keys.next(), 1, Integer::sum);
        }
        int most = counts.values().stream().mapToInt(Integer::intValue).max().orElse(0);
        assertTrue(most > 0.06 * draws && most < 0.09 * draws, "most=" + most);
    }
}
