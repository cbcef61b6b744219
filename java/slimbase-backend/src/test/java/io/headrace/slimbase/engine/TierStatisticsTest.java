package io.headrace.slimbase.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/** The hit rate of memory is what the console shows of these figures: readers count, writers do not, and a miss is a lookup that asked the files. */
class TierStatisticsTest {
    private static final int KEYS = 20_000;
    private static final long BYTES_BELOW_STATE = 512 << 10;

    @Test
    void lookupsAreThoseOfReaders() throws Exception {
        long scratch = Memory.allocate(16);
        try (SlimEngine engine =
                new SlimEngine(
                        new MemoryBudget(BYTES_BELOW_STATE),
                        new UnsafeAllocator(),
                        new KeyGroupSpan(0, 1),
                        id -> "s" + id,
                        new MapColdStore(1))) {
            TierStatistics statistics = engine.tierStatistics();
            for (long key = 0; key < KEYS; key++) {
                Memory.putLong(scratch, key);
                Memory.putLong(scratch + 8, key * 3);
                engine.put(0, 0, scratch, Long.BYTES, scratch + 8, Long.BYTES);
            }
            assertTrue(statistics.packedBytes() > 0, "nothing left memory");
            assertEquals(0, statistics.lookups());
            int missing = 0;
            for (long key = 0; key < KEYS; key++) {
                Memory.putLong(scratch, key);
                missing += engine.findInMemory(0, 0, scratch, Long.BYTES) == 0 ? 1 : 0;
                long record = engine.find(0, 0, scratch, Long.BYTES);
                assertEquals(key * 3, Memory.getLong(Record.valueAddress(record)));
            }
            assertTrue(missing > 0 && missing < KEYS, missing + " keys are not in memory");
            assertEquals(KEYS, statistics.lookups());
            assertEquals(missing, statistics.fileLookups());
        } finally {
            Memory.free(scratch);
        }
    }
}
