package io.headrace.slimbase.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A walk over state that is mostly in files meets each key once, although it reads lists, and reading brings records to memory and sends others away. */
class WalkBeyondMemoryTest {
    private static final long BUDGET_BYTES = 512 << 10;
    private static final int VALUES = 2;
    private static final int LISTS = 0;
    private static final int KEYS = 4_000;

    private final long scratch = Memory.allocate(64);

    /** Values and lists of one key group, both ways to walk. */
    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5, 6})
    void eachKeyOnce(long seed) throws Exception {
        try (SlimEngine engine =
                new SlimEngine(
                        new MemoryBudget(BUDGET_BYTES), new UnsafeAllocator(), new KeyGroupSpan(0, 1), id -> "s" + id, new MapColdStore(seed))) {
            fill(engine);
            Random random = new Random(seed);
            for (int round = 0; round < 12; round++) {
                // Read twice, a record comes to memory: the walk begins with a full cache.
                for (int i = 0; i < 12_000; i++) {
                    Memory.putLong(scratch, random.nextInt(KEYS));
                    assertTrue(engine.find(0, VALUES, scratch, Long.BYTES) != 0);
                }
                Map<String, Integer> met = new TreeMap<>();
                if (round % 2 == 0) {
                    engine.forEachRecord(0, record -> met.merge(nameOf(record), 1, Integer::sum));
                } else {
                    try (RecordCursor cursor = engine.records(0)) {
                        for (long record = cursor.next(); record != 0; record = cursor.next()) {
                            met.merge(nameOf(record), 1, Integer::sum);
                        }
                    }
                }
                met.forEach((name, times) -> assertEquals(1, times, name));
                assertEquals(2 * KEYS, met.size());
            }
        }
    }

    @AfterEach
    void free() {
        Memory.free(scratch);
    }

    private void fill(SlimEngine engine) {
        for (int round = 0; round < 4; round++) {
            for (long key = 0; key < KEYS; key++) {
                Memory.putLong(scratch, key);
                Memory.putLong(scratch + 8, key + round);
                if (round == 0) {
                    engine.put(0, VALUES, scratch, Long.BYTES, scratch + 8, 48);
                }
                engine.appendToList(0, LISTS, scratch, Long.BYTES, scratch + 8, 24);
            }
        }
    }

    private static String nameOf(long record) {
        return Record.identity(record) + "/" + Memory.getLong(Record.keyAddress(record));
    }
}
