package io.headrace.statebench.tiers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.zip.Deflater;
import org.junit.jupiter.api.Test;

class ValuesTest {

    private static final int BYTES = 100;

    /** A bench that never looks at what it reads measures a backend that may answer anything. */
    @Test
    void foreignShortAndChangedValuesAreSeen() {
        byte[] value = Values.make(7, 3, BYTES);
        Values.check(7, value, BYTES);
        assertEquals(3, Values.version(value));
        assertThrows(AssertionError.class, () -> Values.check(8, value, BYTES));
        assertThrows(AssertionError.class, () -> Values.check(7, null, BYTES));
        assertThrows(AssertionError.class, () -> Values.check(7, Values.make(7, 3, BYTES - 1), BYTES));
        for (int i = 0; i < BYTES; i++) {
            byte[] changed = value.clone();
            changed[i] ^= 1;
            assertThrows(AssertionError.class, () -> Values.check(7, changed, BYTES), "byte " + i);
        }
        assertThrows(AssertionError.class, () -> Values.checkOwner(8, value));
    }

    /** RocksDB compresses its blocks; these values give it nothing to gain but the keys that they begin with. */
    @Test
    void valuesDoNotCompress() {
        int count = 1_000;
        byte[] all = new byte[count * BYTES];
        for (int i = 0; i < count; i++) {
            System.arraycopy(Values.make(i * 7_919L, i, BYTES), 0, all, i * BYTES, BYTES);
        }
        Deflater deflater = new Deflater(Deflater.BEST_COMPRESSION);
        deflater.setInput(all);
        deflater.finish();
        int compressed = deflater.deflate(new byte[2 * all.length]);
        assertTrue(compressed > 0.9 * all.length, "compressed to " + compressed);
    }

    /** Percentiles are upper bounds by powers of two; the longest is exact. */
    @Test
    void percentilesAreUpperBounds() {
        Pauses pauses = new Pauses();
        for (int i = 0; i < 99; i++) {
            pauses.add(700);
        }
        pauses.add(5_000_000);
        Map<String, Object> figures = new LinkedHashMap<>();
        pauses.into(figures);
        assertEquals(1_024L, figures.get("p50_below_ns"));
        assertEquals(1_024L, figures.get("p99_below_ns"));
        assertEquals(8_388_608L, figures.get("p9999_below_ns"));
        assertEquals(5.0, figures.get("longest_ms"));
    }
}
