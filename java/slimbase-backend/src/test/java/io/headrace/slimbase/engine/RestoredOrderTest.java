package io.headrace.slimbase.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Restoring skips lookups where a file's order proves a key new, and gives the index its size at once; neither may change what is restored. */
class RestoredOrderTest {
    private static final int KEY_GROUPS = 3;
    private static final int IDENTITIES = 3;
    private static final long BYTES_BELOW_FILES = 512 << 10;

    private final long scratch = Memory.allocate(64);

    private static final class Entry {
        final int keyGroup;
        final int identity;
        final long key;
        final long value;
        final boolean tombstone;

        Entry(int keyGroup, int identity, long key, long value, boolean tombstone) {
            this.keyGroup = keyGroup;
            this.identity = identity;
            this.key = key;
            this.value = value;
            this.tombstone = tombstone;
        }

        long hash(long at) {
            Memory.putLong(at, key);
            return KeyHash.hash(identity, at, Long.BYTES);
        }

        String name() {
            return keyGroup + "/" + identity + "/" + key;
        }
    }

    @AfterEach
    void free() {
        Memory.free(scratch);
    }

    private static SlimEngine engine() {
        return new SlimEngine(new MemoryBudget(256 << 20), new UnsafeAllocator(), 0, KEY_GROUPS, id -> "s" + id);
    }

    /** Distinct keys, as a file has them. */
    private static List<Entry> file(Random random, int count, int keys) {
        Map<String, Entry> entries = new TreeMap<>();
        for (int i = 0; i < count; i++) {
            Entry entry =
                    new Entry(
                            random.nextInt(KEY_GROUPS),
                            random.nextInt(IDENTITIES),
                            random.nextInt(keys),
                            random.nextLong(),
                            random.nextInt(8) == 0);
            entries.put(entry.name(), entry);
        }
        return new ArrayList<>(entries.values());
    }

    private void sort(List<Entry> entries) {
        entries.sort(
                Comparator.<Entry>comparingInt(entry -> entry.keyGroup)
                        .thenComparingInt(entry -> entry.identity)
                        .thenComparing(entry -> entry.hash(scratch), Long::compareUnsigned));
    }

    private void restore(SlimEngine engine, List<Entry> file, boolean announced) {
        engine.beginRestoredSegment();
        int keyGroup = -1;
        for (Entry entry : file) {
            Memory.putLong(scratch, entry.key);
            Memory.putLong(scratch + 8, entry.value);
            if (announced && entry.keyGroup != keyGroup) {
                keyGroup = entry.keyGroup;
                engine.beginRestoredKeyGroup(keyGroup, file.size());
            }
            if (announced) {
                engine.announceRestored(entry.keyGroup, entry.identity, scratch, Long.BYTES);
            }
            int valueLength = entry.tombstone ? 0 : Long.BYTES;
            engine.restoreEntry(
                    entry.keyGroup, entry.identity, entry.tombstone ? 1 : 0, scratch, Long.BYTES, scratch + 8, valueLength);
        }
        engine.endRestoredSegment();
    }

    private Map<String, Long> content(SlimEngine engine) throws Exception {
        Map<String, Long> content = new TreeMap<>();
        for (int keyGroup = 0; keyGroup < KEY_GROUPS; keyGroup++) {
            engine.forEachRecord(
                    keyGroup,
                    record -> {
                        String name =
                                Record.keyGroup(record) + "/" + Record.identity(record) + "/" + Memory.getLong(Record.keyAddress(record));
                        assertEquals(null, content.put(name, Memory.getLong(Record.valueAddress(record))), "twice in the index: " + name);
                    });
        }
        return content;
    }

    /** Files in their order, shuffled, or with the states' ids translated to another order: the same content, each key once. */
    @Test
    void orderDoesNotMatter() throws Exception {
        for (int seed = 0; seed < 60; seed++) {
            Random random = new Random(seed);
            Map<String, Long> model = new TreeMap<>();
            try (SlimEngine engine = engine()) {
                for (int number = 0; number < 4; number++) {
                    List<Entry> file = file(random, random.nextInt(3_000), 1_500);
                    sort(file);
                    if (seed % 3 == 1) {
                        Collections.shuffle(file, random);
                    } else if (seed % 3 == 2) {
                        file.sort(Comparator.<Entry>comparingInt(entry -> entry.keyGroup).thenComparingInt(entry -> -entry.identity));
                    }
                    restore(engine, file, seed % 2 == 0);
                    for (Entry entry : file) {
                        if (entry.tombstone) {
                            model.remove(entry.name());
                        } else {
                            model.put(entry.name(), entry.value);
                        }
                    }
                    assertEquals(model, content(engine), "seed=" + seed + " file=" + number);
                }
                long[] counts = new long[IDENTITIES];
                model.keySet().forEach(name -> counts[name.charAt(name.indexOf('/') + 1) - '0']++);
                long[] counted = new long[IDENTITIES];
                for (int identity = 0; identity < IDENTITIES; identity++) {
                    counted[identity] = engine.recordCount(identity);
                }
                assertArrayEquals(counts, counted, "seed=" + seed);
            }
        }
    }

    /** Files that together are more than memory: what was restored first leaves it again, and the content is the same. */
    @Test
    void filesBeyondMemory() throws Exception {
        for (int seed = 0; seed < 40; seed++) {
            Random random = new Random(seed);
            Map<String, Long> model = new TreeMap<>();
            try (SlimEngine engine =
                    new SlimEngine(
                            new MemoryBudget(BYTES_BELOW_FILES),
                            new UnsafeAllocator(),
                            new KeyGroupSpan(0, KEY_GROUPS),
                            id -> "s" + id,
                            new MapColdStore(seed))) {
                for (int number = 0; number < 5; number++) {
                    List<Entry> file = file(random, 6_000, 2_000);
                    sort(file);
                    if (seed % 3 == 1) {
                        Collections.shuffle(file, random);
                    }
                    restore(engine, file, seed % 2 == 0);
                    file.forEach(entry -> model.compute(entry.name(), (name, old) -> entry.tombstone ? null : entry.value));
                    assertEquals(model, content(engine), "seed=" + seed + " file=" + number);
                }
                assertTrue(engine.tierStatistics().packedBytes() > 0, "nothing left memory");
            }
        }
    }

    /** A key that a harmed file has twice is in the index once, the later value. */
    @Test
    void sameKeyTwice() throws Exception {
        List<Entry> file = new ArrayList<>();
        for (long value = 0; value < 3; value++) {
            file.add(new Entry(1, 0, 77, value, false));
        }
        try (SlimEngine engine = engine()) {
            restore(engine, file, true);
            assertEquals(Map.of("1/0/77", 2L), content(engine));
        }
    }

    /** With the number known no node is outgrown while a large file is restored, and the index is no larger than one that grew. */
    @Test
    void sizedIndexIsNoLarger() throws Exception {
        for (int count : new int[] {1, 6, 7, 100, 6_655, 6_656, 30_000, 120_000}) {
            long[] index = new long[2];
            for (int known = 0; known < 2; known++) {
                List<Entry> file = new ArrayList<>();
                for (long key = 0; key < count; key++) {
                    file.add(new Entry(2, 1, key * 0x9E3779B97F4A7C15L, key, false));
                }
                sort(file);
                try (SlimEngine engine = engine()) {
                    restore(engine, file, known == 1);
                    assertEquals(count, content(engine).size());
                    index[known] = engine.indexBytes();
                    for (Entry entry : file) {
                        Memory.putLong(scratch, entry.key);
                        assertTrue(engine.remove(2, 1, scratch, Long.BYTES));
                    }
                    assertEquals(0, content(engine).size());
                }
            }
            assertTrue(index[1] <= index[0], "records=" + count + " index_bytes sized=" + index[1] + " grown=" + index[0]);
        }
    }

    /** Without memory for the whole index at once, it grows as far as it must. */
    @Test
    void sizingNeedsNoMemory() throws Exception {
        List<Entry> file = new ArrayList<>();
        for (long key = 0; key < 2_000; key++) {
            file.add(new Entry(0, 0, key, key, false));
        }
        sort(file);
        try (SlimEngine engine = new SlimEngine(new MemoryBudget(1 << 20), new UnsafeAllocator(), 0, KEY_GROUPS, id -> "s" + id)) {
            engine.beginRestoredSegment();
            engine.beginRestoredKeyGroup(0, 10_000_000);
            for (Entry entry : file) {
                Memory.putLong(scratch, entry.key);
                engine.restoreEntry(0, 0, 0, scratch, Long.BYTES, scratch, Long.BYTES);
            }
            engine.endRestoredSegment();
            assertEquals(2_000, content(engine).size());
        }
    }
}
