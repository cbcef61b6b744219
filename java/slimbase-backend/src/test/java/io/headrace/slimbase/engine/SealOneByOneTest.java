package io.headrace.slimbase.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/** Without checkpoints only the segment that leaves memory is sealed: what is younger is changed where it is. */
class SealOneByOneTest {
    private static final int VALUE_BYTES = 24;
    private static final int KEYS = 400_000;
    /** Half of what memory holds. */
    private static final int YOUNGER = 50_000;

    /** Each key is written twice, the second time when as much as fills half of memory has come since: that is no copy, however much leaves meanwhile. */
    @Test
    void youngRecordsAreChangedInPlace() {
        long scratch = Memory.allocate(64);
        try (SlimEngine engine =
                new SlimEngine(new MemoryBudget(8 << 20), new UnsafeAllocator(), new KeyGroupSpan(0, 1), id -> "s" + id, new MapColdStore(1))) {
            long recordBytes = Record.sizeOf(false, Long.BYTES, VALUE_BYTES);
            for (long key = 0; key < KEYS; key++) {
                put(engine, scratch, key, 1);
                if (key >= YOUNGER) {
                    put(engine, scratch, key - YOUNGER, 2);
                }
            }
            long appended = engine.tierStatistics().appendedBytes();
            assertTrue(engine.tierStatistics().packedBytes() > KEYS / 2 * recordBytes, "little has left memory");
            assertTrue(appended < KEYS * recordBytes * 1.05, "appended " + (double) appended / (KEYS * recordBytes) + " times what came");
            for (long key = 0; key < KEYS; key += 997) {
                Memory.putLong(scratch, key);
                long record = engine.find(0, 0, scratch, Long.BYTES);
                assertEquals(key < KEYS - YOUNGER ? 2 : 1, Memory.getLong(Record.valueAddress(record)), "key " + key);
            }
        } finally {
            Memory.free(scratch);
        }
    }

    private static void put(SlimEngine engine, long scratch, long key, long value) {
        Memory.putLong(scratch, key);
        Memory.putLong(scratch + 8, value);
        engine.put(0, 0, scratch, Long.BYTES, scratch + 8, VALUE_BYTES);
    }
}
