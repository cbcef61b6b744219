package io.headrace.slimbase.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/**
 * Where indexes or other operators take most of the memory, what is written still becomes files of a size. A file for
 * every few records would be one more for each lookup to ask, and appends would wait for merges: 2,000 files were seen (bench/NOTES.md).
 */
class StarvedLogTest {
    private static final long BUDGET_BYTES = 16 << 20;
    private static final int OLD = 500_000;
    private static final int READ = 20_000;
    private static final int NEW = 120_000;
    private static final double WITHOUT_RECORDS = 0.86;
    private static final int VALUE_BYTES = 24;
    /** A segment of the budget's eighth is a file from half of it on; a record takes some fifty bytes. */
    private static final long FILES = NEW * 50L / (BUDGET_BYTES / 16);

    @Test
    void filesHaveASize() {
        long scratch = Memory.allocate(64);
        MemoryBudget budget = new MemoryBudget(BUDGET_BYTES);
        try (SlimEngine engine =
                new SlimEngine(budget, new UnsafeAllocator(), new KeyGroupSpan(0, 1), id -> "s" + id, new MapColdStore(1))) {
            put(engine, scratch, 0, OLD);
            // From here on segments should leave memory, and none of it is theirs.
            long reserve = (long) (BUDGET_BYTES * WITHOUT_RECORDS) - (budget.usedBytes() - engine.logBytes());
            budget.release(-reserve);
            long before = engine.takeNumber();
            put(engine, scratch, OLD, OLD + NEW);
            long taken = engine.takeNumber() - before;
            assertTrue(taken < 4 * FILES, "numbers of segments and files taken: " + taken + ", of so many that are large enough: " + FILES);
            budget.release(reserve);
            read(engine, scratch, 0, READ);
            for (long key = OLD; key < OLD + NEW; key += 97) {
                assertEquals(key, Memory.getLong(Record.valueAddress(find(engine, scratch, key))));
            }
        } finally {
            Memory.free(scratch);
        }
    }

    private static void put(SlimEngine engine, long scratch, long from, long to) {
        for (long key = from; key < to; key++) {
            Memory.putLong(scratch, key);
            Memory.putLong(scratch + Long.BYTES, key);
            engine.put(0, 0, scratch, Long.BYTES, scratch + Long.BYTES, VALUE_BYTES);
        }
    }

    private static void read(SlimEngine engine, long scratch, long from, long to) {
        for (long key = from; key < to; key++) {
            assertEquals(key, Memory.getLong(Record.valueAddress(find(engine, scratch, key))));
        }
    }

    private static long find(SlimEngine engine, long scratch, long key) {
        Memory.putLong(scratch, key);
        return engine.find(0, 0, scratch, Long.BYTES);
    }
}
