package io.headrace.slimbase.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Records that are read again come to memory, unless they are written anyway; what came is what the key has. */
class PromotionTest {
    private static final int KEYS = 60_000;
    private static final int HOT = 200;
    private static final int VALUE_BYTES = 24;
    /** Six chunks. */
    private static final long COPY_BYTES = 1536 << 10;

    private final long scratch = Memory.allocate(64);
    private SlimEngine engine;
    private TierStatistics statistics;

    private void start(long budgetBytes) {
        engine = new SlimEngine(new MemoryBudget(budgetBytes), new UnsafeAllocator(), new KeyGroupSpan(0, 1), id -> "s" + id, new MapColdStore(1));
        statistics = engine.tierStatistics();
    }

    @AfterEach
    void close() {
        engine.close();
        Memory.free(scratch);
    }

    private long find(long key) {
        Memory.putLong(scratch, key);
        return engine.find(0, 0, scratch, Long.BYTES);
    }

    private void put(long key, long value) {
        Memory.putLong(scratch, key);
        Memory.putLong(scratch + 8, value);
        engine.put(0, 0, scratch, Long.BYTES, scratch + 8, VALUE_BYTES);
    }

    private void fill() {
        start(2 << 20);
        for (long key = 0; key < KEYS; key++) {
            put(key, key);
        }
        assertTrue(statistics.fileCount() > 0, "nothing left memory");
    }

    /** Read again and again, they are soon read from memory only. */
    @Test
    void readRecordsCome() {
        fill();
        // Memory is full at first: reading makes room for what is read. How many come in a round depends on when a segment has left.
        for (int round = 0; round < 400 && statistics.promotions() < HOT; round++) {
            for (long key = 0; key < HOT; key++) {
                assertEquals(key, Memory.getLong(Record.valueAddress(find(key))));
            }
        }
        assertTrue(statistics.promotions() > HOT * 9 / 10, statistics.promotions() + " promotions");
        long before = statistics.fileLookups();
        for (long key = 0; key < HOT; key++) {
            find(key);
        }
        long inFiles = statistics.fileLookups() - before;
        assertTrue(inFiles < HOT / 20, inFiles + " of " + HOT + " were read from files");
    }

    private void fillManyTimesMemory() {
        start(16 << 20);
        for (long key = 0; key < 8 * KEYS; key++) {
            put(key, key);
        }
    }

    /** Lookups in files while so many of the first keys are read. */
    private long fileLookupsOf(int keys) {
        long before = statistics.fileLookups();
        for (long key = 0; key < keys; key++) {
            assertEquals(key, Memory.getLong(Record.valueAddress(find(key))));
        }
        return statistics.fileLookups() - before;
    }

    /** What was read once is in memory when it is read again soon. */
    @Test
    void secondReadIsFromMemory() {
        fillManyTimesMemory();
        for (long key = KEYS; key < 2 * KEYS; key++) {
            find(key); // memory is full at first: reading makes room
        }
        long first = fileLookupsOf(HOT);
        long second = fileLookupsOf(HOT);
        assertTrue(first > HOT * 9 / 10, first + " of " + HOT + " were in files");
        assertTrue(second < HOT / 20, second + " of " + HOT + " were read from files again");
    }

    /** A scan over everything takes a small part of memory, and leaves what was read from files again. */
    @Test
    void scanLeavesTheRest() {
        fillManyTimesMemory();
        int hot = KEYS / 4;
        for (int round = 0; round < 4; round++) {
            fileLookupsOf(hot);
            for (long key = KEYS; key < KEYS * 3 / 2; key++) {
                find(key); // more than may stay of what is read once
            }
        }
        long before = fileLookupsOf(hot);
        assertTrue(before < hot / 8, before + " of " + hot + " were read from files again and again");
        long bytes = statistics.cacheBytes();
        for (long key = 2 * KEYS; key < 8 * KEYS; key++) {
            find(key);
        }
        assertTrue(statistics.cacheBytes() <= bytes + (1 << 20), statistics.cacheBytes() + " bytes of copies, " + bytes + " before");
        long after = fileLookupsOf(hot);
        assertTrue(after < hot / 2, after + " of " + hot + " had to be read from files again");
    }

    /** What is read and then written has its place in the log: a copy of what it was would only take memory from it. */
    @Test
    void writtenRecordsDoNotCome() {
        fill();
        for (int round = 0; round < 3; round++) {
            for (long key = 0; key < KEYS / 8; key++) {
                find(key);
                put(key, -key);
            }
            for (long key = KEYS / 8; key < KEYS; key++) {
                put(key, -key);
            }
        }
        assertTrue(statistics.fileLookups() > KEYS / 8, statistics.fileLookups() + " lookups in files");
        assertTrue(statistics.promotions() < KEYS / 1000, statistics.promotions() + " promotions");
    }

    /** An operation that reads two records, one of them twice, before it writes both, as on a map's root and page. */
    @Test
    void recordsOfOneOperationDoNotCome() {
        fill();
        for (int round = 0; round < 3; round++) {
            for (long key = 0; key < KEYS / 8; key += 2) {
                find(key);
                find(key + 1);
                find(key);
                put(key + 1, -key);
                find(key);
                put(key, -key);
            }
            for (long key = KEYS / 8; key < KEYS; key++) {
                put(key, -key);
            }
        }
        assertTrue(statistics.fileLookups() > KEYS / 8, statistics.fileLookups() + " lookups in files");
        assertTrue(statistics.fileLookups() < KEYS / 8 * 3 * 11 / 10, statistics.fileLookups() + " lookups in files: some keys were read twice");
        assertTrue(statistics.promotions() < KEYS / 1000, statistics.promotions() + " promotions");
    }

    /** Copies of what was written since take no memory from the log for long. */
    @Test
    void deadCopiesLeave() {
        fillManyTimesMemory();
        int keys = 8 * KEYS;
        for (int round = 0; round < 100 && statistics.cacheBytes() < COPY_BYTES; round++) {
            for (long key = 0; key < keys / 8; key++) {
                find(key);
            }
        }
        assertTrue(statistics.cacheBytes() >= COPY_BYTES, statistics.cacheBytes() + " bytes of copies");
        for (long key = 0; key < keys / 8; key++) {
            put(key, -key);
        }
        for (long key = keys / 2; key < keys; key++) {
            put(key, -key);
        }
        assertTrue(statistics.cacheBytes() <= COPY_BYTES / 3, statistics.cacheBytes() + " bytes of copies are left");
        assertEquals(-1, Memory.getLong(Record.valueAddress(find(1))));
    }

    /** Reads, writes and removals of all keys in any order; the copies never hide what was written since. */
    @Test
    void copiesAreNewest() {
        fill();
        Random random = new Random(3);
        long[] model = new long[KEYS];
        java.util.Arrays.setAll(model, key -> key);
        for (int i = 1; i < 150_000; i++) {
            int key = (int) Math.abs(random.nextGaussian() * KEYS / 8) % KEYS;
            int action = random.nextInt(20);
            if (action == 0) {
                put(key, i);
                model[key] = i;
            } else if (action == 1) {
                Memory.putLong(scratch, key);
                engine.remove(0, 0, scratch, Long.BYTES);
                model[key] = -1;
            } else {
                long record = find(key);
                assertEquals(model[key], record == 0 ? -1 : Memory.getLong(Record.valueAddress(record)), "key " + key);
            }
        }
        assertTrue(statistics.promotions() > 1_000, statistics.promotions() + " promotions");
    }
}
