package io.headrace.slimbase.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The engine against a map, under random operations, epochs, cleaning, snapshots and restores. */
class EngineModelTest {
    private static final int KEY_GROUPS = 5;
    private static final int FIRST = 7;
    private static final int VALUE = 2 * 2;
    private static final int LIST = 2 * 3;

    /** A key of the model. */
    private static final class Key {
        final int group;
        final int identity;
        final byte[] bytes;

        Key(int group, int identity, byte[] bytes) {
            this.group = group;
            this.identity = identity;
            this.bytes = bytes;
        }

        @Override
        public boolean equals(Object other) {
            Key that = (Key) other;
            return group == that.group && identity == that.identity && Arrays.equals(bytes, that.bytes);
        }

        @Override
        public int hashCode() {
            return Arrays.hashCode(bytes) * 31 + identity * 7 + group;
        }
    }

    private final long keyMemory = Memory.allocate(1 << 20);
    private final long valueMemory = Memory.allocate(8 << 20);

    private static SlimEngine engine(long budget) {
        return new SlimEngine(new MemoryBudget(budget), new UnsafeAllocator(), FIRST, KEY_GROUPS, id -> "state-" + id);
    }

    private long load(byte[] bytes, long at) {
        Memory.copyFromArray(bytes, 0, bytes.length, at);
        return at;
    }

    private static byte[] bytes(long at, int length) {
        byte[] out = new byte[length];
        Memory.copyToArray(at, out, 0, length);
        return out;
    }

    /** An engine that has a store for what memory has no room for. */
    private static SlimEngine tiered(long budget, long seed) {
        return new SlimEngine(
                new MemoryBudget(budget),
                new UnsafeAllocator(),
                new KeyGroupSpan(FIRST, KEY_GROUPS),
                id -> "state-" + id,
                new MapColdStore(seed));
    }

    private byte[] read(SlimEngine engine, Key key) {
        long record = engine.find(key.group, key.identity, load(key.bytes, keyMemory), key.bytes.length);
        return record == 0 ? null : content(engine, record, key.identity);
    }

    /** The value; a list's elements joined with commas. */
    private static byte[] content(SlimEngine engine, long record, int identity) {
        if (identity != LIST) {
            return bytes(Record.valueAddress(record), Record.valueLength(record));
        }
        long[] blocks = new long[4096];
        int count = engine.chain(record, blocks);
        assertTrue(count <= blocks.length);
        int length = count;
        for (int i = 0; i < count; i++) {
            length += Memory.getInt(Record.valueAddress(blocks[i]));
        }
        ByteBuffer out = ByteBuffer.allocate(length);
        for (int i = count - 1; i >= 0; i--) {
            long block = Record.valueAddress(blocks[i]);
            out.put(bytes(block + 8, Memory.getInt(block)));
            if (i > 0) {
                out.put((byte) ',');
            }
        }
        return Arrays.copyOf(out.array(), out.position());
    }

    private void check(SlimEngine engine, Map<Key, byte[]> model) throws Exception {
        for (Map.Entry<Key, byte[]> entry : model.entrySet()) {
            assertArrayEquals(entry.getValue(), read(engine, entry.getKey()));
        }
        Map<Key, byte[]> walked = new HashMap<>();
        for (int group = FIRST; group < FIRST + KEY_GROUPS; group++) {
            engine.forEachRecord(
                    group,
                    record ->
                            walked.put(
                                    new Key(
                                            Record.keyGroup(record),
                                            Record.identity(record),
                                            bytes(Record.keyAddress(record), Record.keyLength(record))),
                                    content(engine, record, Record.identity(record))));
        }
        assertEquals(model.size(), walked.size());
        for (Map.Entry<Key, byte[]> entry : model.entrySet()) {
            assertArrayEquals(entry.getValue(), walked.get(entry.getKey()));
        }
        if (!engine.hasFiles()) {
            assertEquals(model.size(), engine.recordCount(VALUE) + engine.recordCount(LIST));
        }
    }

    /** What a file would hold: per key the newest whole value or tombstone and the pieces after it. */
    private static List<Object[]> file(SegmentView view) {
        Map<Key, List<Object[]>> byKey = new LinkedHashMap<>();
        for (int chunk = 0; chunk < view.chunkCount(); chunk++) {
            long end = view.chunkAddress(chunk) + view.chunkBytes(chunk);
            for (long at = view.chunkAddress(chunk); at < end; at += Record.size(at)) {
                if (Record.has(at, Record.DEAD)) {
                    continue;
                }
                byte[] keyBytes = bytes(Record.keyAddress(at), Record.keyLength(at));
                Key key = new Key(Record.keyGroup(at), Record.identity(at), keyBytes);
                boolean chained = Record.has(at, Record.CHAINED);
                List<Object[]> entries = byKey.computeIfAbsent(key, ignored -> new ArrayList<>());
                if (!chained) {
                    entries.clear();
                }
                int flags = (Record.has(at, Record.TOMBSTONE) ? 1 : 0) | (chained ? 2 : 0);
                entries.add(new Object[] {key, flags, bytes(Record.valueAddress(at), Record.valueLength(at))});
            }
        }
        List<Object[]> all = new ArrayList<>();
        byKey.values().forEach(all::addAll);
        return all;
    }

    private SlimEngine restore(List<List<Object[]>> files, long budget) {
        SlimEngine engine = engine(budget);
        restoreInto(engine, files);
        return engine;
    }

    private void restoreInto(SlimEngine engine, List<List<Object[]>> files) {
        for (List<Object[]> file : files) {
            engine.beginRestoredSegment();
            for (Object[] entry : file) {
                Key key = (Key) entry[0];
                byte[] value = (byte[]) entry[2];
                engine.restoreEntry(
                        key.group,
                        key.identity,
                        (int) entry[1],
                        load(key.bytes, keyMemory),
                        key.bytes.length,
                        load(value, valueMemory),
                        value.length);
            }
            engine.endRestoredSegment();
        }
    }

    private static byte[] random(Random random, int most) {
        byte[] out = new byte[random.nextInt(100) == 0 ? random.nextInt(most) : random.nextInt(40)];
        random.nextBytes(out);
        return out;
    }

    /** Key bytes of the model's key `pick`; few are LARGE. */
    private static byte[] keyBytes(int pick) {
        byte[] bytes = new byte[pick % 200 == 50 ? 70_000 : 8 + pick % 13];
        ByteBuffer.wrap(bytes).putInt(pick);
        return bytes;
    }

    private void step(SlimEngine engine, Map<Key, byte[]> model, Random random, int keys) {
        int pick = random.nextInt(keys);
        byte[] keyBytes = keyBytes(pick);
        int group = FIRST + pick % KEY_GROUPS;
        long key = load(keyBytes, keyMemory);
        int what = random.nextInt(10);
        Key value = new Key(group, VALUE, keyBytes);
        Key list = new Key(group, LIST, keyBytes);
        if (what < 4) {
            byte[] content = what == 0 ? random(random, 100_000) : new byte[] {(byte) random.nextInt(), 2, 3};
            if (what == 1) {
                engine.find(group, VALUE, key, keyBytes.length);
                engine.putFound(load(content, valueMemory), content.length, key, keyBytes.length);
            } else {
                engine.put(group, VALUE, key, keyBytes.length, load(content, valueMemory), content.length);
            }
            model.put(value, content);
        } else if (what < 6) {
            checkRemoved(model.remove(value) != null, engine, engine.remove(group, VALUE, key, keyBytes.length));
        } else if (what < 9) {
            byte[] element = random(random, 3_000);
            engine.appendToList(group, LIST, key, keyBytes.length, load(element, valueMemory), element.length);
            byte[] before = model.get(list);
            model.put(list, before == null ? element : joined(before, element));
            if (model.get(list).length > 20_000) {
                engine.putList(group, LIST, key, keyBytes.length, load(element, valueMemory), element.length, 1);
                model.put(list, element);
            }
        } else {
            checkRemoved(model.remove(list) != null, engine, engine.remove(group, LIST, key, keyBytes.length));
        }
    }

    /** With files the engine does not read whether a key is there, and says yes where it may be. */
    private static void checkRemoved(boolean expected, SlimEngine engine, boolean removed) {
        assertTrue(removed || !expected);
        assertTrue(expected || !removed || engine.hasFiles());
    }

    private static byte[] joined(byte[] before, byte[] element) {
        ByteBuffer out = ByteBuffer.allocate(before.length + 1 + element.length);
        return out.put(before).put((byte) ',').put(element).array();
    }

    /** Any sequence gives the map's answers; every snapshot, also one read late, restores to the map of its barrier; and on from there. */
    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5, 6})
    void agreesWithAMap(long seed) throws Exception {
        System.out.println("seed " + seed);
        Random random = new Random(seed);
        int keys = 20 << random.nextInt(6);
        long budget = (24L + random.nextInt(3) * 40) << 20;
        int operations = Integer.getInteger("slimbase.model.ops", 12_000);
        SlimEngine engine = engine(budget);
        Map<Key, byte[]> model = new HashMap<>();
        ArrayDeque<Object[]> late = new ArrayDeque<>();
        for (int i = 0; i < operations; i++) {
            step(engine, model, random, keys);
            if (random.nextInt(700) == 0) {
                late.add(new Object[] {engine.seal(), new HashMap<>(model)});
            }
            if (late.size() > 2 || (!late.isEmpty() && random.nextInt(2_000) == 0)) {
                Object[] oldest = late.poll();
                @SuppressWarnings("unchecked")
                Map<Key, byte[]> then = (Map<Key, byte[]>) oldest[1];
                SlimEngine copy = restore(filesOf((SnapshotView) oldest[0]), budget);
                check(copy, then);
                if (random.nextInt(4) == 0) {
                    engine = replace(engine, late, copy);
                    model = new HashMap<>(then);
                } else {
                    copy.close();
                }
            }
            if (i % 5_000 == 0) {
                check(engine, model);
            }
        }
        check(engine, model);
        late.forEach(each -> ((SnapshotView) each[0]).close());
        engine.close();
    }

    /** The same with a store below a memory that holds little of it; restored both into memory and as files that are read when needed. */
    @ParameterizedTest
    @ValueSource(longs = {11, 12, 13, 14, 15, 16, 17, 18})
    void agreesWithAMapBeyondMemory(long seed) throws Exception {
        System.out.println("seed " + seed);
        Random random = new Random(seed);
        int keys = 400 << random.nextInt(4);
        long budget = (3L + random.nextInt(3)) << 19;
        int operations = Integer.getInteger("slimbase.model.ops", 9_000);
        SlimEngine engine = tiered(budget, seed);
        Map<Key, byte[]> model = new HashMap<>();
        ArrayDeque<Object[]> late = new ArrayDeque<>();
        for (int i = 0; i < operations; i++) {
            step(engine, model, random, keys);
            for (int reads = random.nextInt(8) == 0 ? random.nextInt(200) : 0; reads > 0; reads--) {
                int pick = (int) (keys * Math.pow(random.nextDouble(), 3));
                Key key = new Key(FIRST + pick % KEY_GROUPS, random.nextBoolean() ? VALUE : LIST, keyBytes(pick));
                assertArrayEquals(model.get(key), read(engine, key));
            }
            if (late.isEmpty() && random.nextInt(500) == 0) {
                late.add(new Object[] {engine.seal(), new HashMap<>(model)});
            }
            if (!late.isEmpty() && random.nextInt(20) == 0) {
                Object[] oldest = late.poll();
                @SuppressWarnings("unchecked")
                Map<Key, byte[]> then = (Map<Key, byte[]>) oldest[1];
                SlimEngine copy = restoreTiered((SnapshotView) oldest[0], budget, random.nextLong());
                check(copy, then);
                if (random.nextInt(4) == 0) {
                    engine = replace(engine, late, copy);
                    model = new HashMap<>(then);
                } else {
                    copy.close();
                }
            }
            if (i % 2_000 == 0) {
                check(engine, model);
            }
        }
        check(engine, model);
        assertTrue(engine.hasFiles(), "memory was enough");
        assertEquals(0, engine.tierStatistics().mergeFailures());
        late.forEach(each -> ((SnapshotView) each[0]).close());
        engine.close();
    }

    private static SlimEngine restoreTiered(SnapshotView snapshot, long budget, long seed) {
        SlimEngine copy = tiered(budget, seed);
        for (SegmentView view : snapshot.segments()) {
            copy.addRestoredFile(new MapColdStore.MapColdFile(view.number(), MapColdStore.entries(view)));
        }
        snapshot.close();
        return copy;
    }

    private SlimEngine replace(SlimEngine old, ArrayDeque<Object[]> late, SlimEngine restored) {
        late.forEach(each -> ((SnapshotView) each[0]).close());
        late.clear();
        old.close();
        return restored;
    }

    private static List<List<Object[]>> filesOf(SnapshotView snapshot) {
        List<List<Object[]>> files = new ArrayList<>();
        snapshot.segments().forEach(view -> files.add(file(view)));
        snapshot.close();
        return files;
    }

    /** With rewritten and removed keys memory stays within the budget, and few segments remain. */
    @Test
    void cleansWhileRunning() {
        SlimEngine engine = engine(16 << 20);
        byte[] key = new byte[8];
        byte[] value = new byte[100];
        for (int epoch = 0; epoch < 300; epoch++) {
            for (int i = 0; i < 2_000; i++) {
                ByteBuffer.wrap(key).putLong(i * 7L % 20_000);
                engine.put(FIRST + i % KEY_GROUPS, VALUE, load(key, keyMemory), 8, load(value, valueMemory), 100);
                ByteBuffer.wrap(key).putLong(1_000_000L + epoch * 2_000L + i);
                engine.put(FIRST, VALUE, load(key, keyMemory), 8, load(value, valueMemory), 100);
                ByteBuffer.wrap(key).putLong(1_000_000L + (epoch - 3) * 2_000L + i);
                assertEquals(epoch >= 3, engine.remove(FIRST, VALUE, load(key, keyMemory), 8));
            }
            engine.seal().close();
        }
        assertTrue(engine.segmentCount() < 64, "segments " + engine.segmentCount());
        assertTrue(engine.logBytes() < 3.5 * engine.liveBytes() + (2 << 20), engine.logBytes() + " for " + engine.liveBytes());
        engine.close();
    }

    /** Files that hold several versions of each key restore into a budget that has room for one. */
    @Test
    void restoresMoreThanIsAlive() throws Exception {
        SlimEngine engine = engine(96 << 20);
        Map<Key, byte[]> model = new HashMap<>();
        List<List<Object[]>> files = new ArrayList<>();
        for (int version = 0; version < 6; version++) {
            for (int i = 0; i < 60_000; i++) {
                byte[] key = ByteBuffer.allocate(8).putLong(i).array();
                byte[] value = Arrays.copyOf(new byte[] {(byte) version}, 100);
                int group = FIRST + i % KEY_GROUPS;
                engine.put(group, VALUE, load(key, keyMemory), 8, load(value, valueMemory), 100);
                model.put(new Key(group, VALUE, key), value);
            }
            try (SnapshotView view = engine.seal()) {
                SegmentView newest = view.segments().get(view.segments().size() - 1);
                for (SegmentView segment : view.segments()) {
                    if (version == 0 || segment.number() > newest.number() - 2) {
                        files.add(file(segment));
                    }
                }
            }
        }
        engine.close();
        SlimEngine copy = restore(files, 20 << 20);
        check(copy, model);
        try (SnapshotView view = copy.seal()) {
            List<List<Object[]>> again = new ArrayList<>();
            view.segments().forEach(segment -> again.add(file(segment)));
            SlimEngine third = restore(again, 20 << 20);
            check(third, model);
            third.close();
        }
        copy.close();
    }

    /** A full budget is one clear error, and what was there is still there. */
    @Test
    void saysWhenMemoryIsFull() {
        MemoryBudget budget = new MemoryBudget(4 << 20);
        SlimEngine engine = new SlimEngine(budget, new UnsafeAllocator(), 0, 1, id -> "visits");
        byte[] key = new byte[8];
        byte[] value = new byte[1000];
        int[] stored = new int[1];
        SlimBaseException error =
                assertThrows(
                        SlimBaseException.class,
                        () -> {
                            for (; ; stored[0]++) {
                                ByteBuffer.wrap(key).putLong(stored[0]);
                                engine.put(0, VALUE, load(key, keyMemory), 8, load(value, valueMemory), 1000);
                            }
                        });
        assertEquals(SlimBaseException.Kind.Throttled, error.kind());
        assertTrue(error.getMessage().contains("state=`visits`"), error.getMessage());
        assertTrue(error.getMessage().contains("taskmanager.memory.managed.size"), error.getMessage());
        assertTrue(stored[0] > 3_000, "stored " + stored[0]);
        for (int i = 0; i < stored[0]; i++) {
            ByteBuffer.wrap(key).putLong(i);
            assertTrue(engine.find(0, VALUE, load(key, keyMemory), 8) != 0);
        }
        engine.close();
        assertEquals(0, budget.usedBytes());
    }

    private void fill(SlimEngine engine, int from, int to, int valueLength) {
        byte[] key = new byte[8];
        long memory = Memory.allocate(8 + valueLength);
        for (int i = from; i < to; i++) {
            ByteBuffer.wrap(key).putLong(i);
            engine.put(0, VALUE, load(key, memory), 8, memory + 8, valueLength);
        }
        Memory.free(memory);
    }

    private static SlimEngine small(MemoryBudget budget) {
        return new SlimEngine(budget, new UnsafeAllocator(), 0, 1, id -> "visits");
    }

    /** What a filter lets go is gone: no older version comes back from a file, be it of this life or of the one before. */
    @ParameterizedTest
    @CsvSource({"true, false", "false, false", "true, true", "false, true"})
    void expiredRecordsDoNotBringOlderOnesBack(boolean expired, boolean restored) throws Exception {
        Key key = new Key(FIRST, VALUE, new byte[] {1});
        SlimEngine engine = engine(20 << 20);
        fillGroup(engine, 2, 40);
        put(engine, key, new byte[] {7});
        engine.seal().close();
        put(engine, key, new byte[] {8});
        if (restored) {
            try (SnapshotView view = engine.seal()) {
                SlimEngine before = engine;
                engine = restore(filesOf(view), 20 << 20);
                before.close();
            }
        }
        engine.setFilter(VALUE >>> 1, record -> !expired || Memory.getByte(Record.valueAddress(record)) != 8);
        for (int i = 0; i < 20; i++) {
            engine.seal().close();
            fillGroup(engine, 100 + i, 101 + i);
        }
        try (SnapshotView view = engine.seal()) {
            SlimEngine copy = restore(filesOf(view), 20 << 20);
            assertArrayEquals(expired ? null : new byte[] {8}, read(copy, key));
            assertArrayEquals(expired ? null : new byte[] {8}, read(engine, key));
            copy.close();
        }
        engine.close();
    }

    /** Cleaning that comes upon the very key that is being removed takes it out, and nothing else. */
    @ParameterizedTest
    @ValueSource(ints = {3_000, 3_001, 3_002, 3_003, 3_004, 3_005})
    void removesWhatCleaningRemovesAtTheSameTime(int count) throws Exception {
        SlimEngine engine = engine(64 << 20);
        int expiring = 2 * 9;
        for (int i = 0; i < count; i++) {
            byte[] id = ByteBuffer.allocate(4).putInt(i).array();
            put(engine, new Key(FIRST, VALUE, id), new byte[200]);
            put(engine, new Key(FIRST, expiring, id), new byte[200]);
        }
        engine.setFilter(9, record -> false);
        for (int barrier = 0; barrier < 8; barrier++) {
            engine.seal().close(); // the last one makes cleaning begin where something has expired
        }
        for (int i = count; i-- > 0; ) { // cleaning goes the other way, so they meet
            byte[] id = ByteBuffer.allocate(4).putInt(i).array();
            engine.remove(FIRST, expiring, load(id, keyMemory), id.length);
        }
        assertEquals(0, engine.recordCount(expiring));
        assertEquals(count, engine.recordCount(VALUE));
        for (int i = 0; i < count; i++) {
            assertArrayEquals(new byte[200], read(engine, new Key(FIRST, VALUE, ByteBuffer.allocate(4).putInt(i).array())));
        }
        engine.close();
    }

    private void put(SlimEngine engine, Key key, byte[] value) {
        load(key.bytes, keyMemory);
        engine.put(key.group, key.identity, keyMemory, key.bytes.length, load(value, valueMemory), value.length);
    }

    private void fillGroup(SlimEngine engine, int from, int to) {
        for (int i = from; i < to; i++) {
            put(engine, new Key(FIRST, VALUE, new byte[] {(byte) i, 0}), new byte[1_000]);
        }
    }

    /** Garbage of one operator makes way for the state of another in the same slot, whichever of the two asks. */
    @Test
    void neighboursOfASlotCleanForEachOther() throws Exception {
        MemoryBudget budget = new MemoryBudget(8 << 20);
        SlimEngine neighbour = small(budget);
        fill(neighbour, 0, 2_000, 1_000);
        neighbour.seal().close();
        fill(neighbour, 0, 1_500, 1_000); // what was sealed is garbage now, 1.5 MB of it, and worth no cleaning while memory is plenty
        AtomicBoolean done = new AtomicBoolean();
        Thread writer =
                new Thread(
                        () -> {
                            while (!done.get()) {
                                fill(neighbour, 0, 1, 1_000);
                                LockSupport.parkNanos(1_000_000);
                            }
                        });
        writer.start();
        SlimEngine engine = small(budget);
        fill(engine, 0, 4_800, 1_000); // with the garbage it does not fit
        done.set(true);
        writer.join();
        assertEquals(2_000, neighbour.recordCount(VALUE));
        assertEquals(4_800, engine.recordCount(VALUE));
        neighbour.close();
        engine.close();
        assertEquals(0, budget.usedBytes());
    }

    /** One that nobody writes to gives its garbage back at barriers. */
    @Test
    void barriersCleanWhenMemoryIsShort() throws Exception {
        MemoryBudget budget = new MemoryBudget(8 << 20);
        SlimEngine idle = small(budget);
        fill(idle, 0, 3_000, 1_000);
        idle.seal().close();
        for (int i = 0; i < 3_000; i += 2) {
            fill(idle, i, i + 1, 1_000);
        }
        SlimEngine other = small(budget);
        fill(other, 0, 2_700, 1_000);
        long before = idle.logBytes();
        for (int i = 0; i < 10; i++) {
            try (SnapshotView view = idle.seal()) {
                SlimEngine copy = new SlimEngine(new MemoryBudget(64 << 20), new UnsafeAllocator(), 0, 1, id -> "copy");
                restoreInto(copy, filesOf(view));
                assertEquals(3_000, copy.recordCount(VALUE)); // what a barrier moves is in its snapshot
                copy.close();
            }
        }
        assertTrue(idle.logBytes() < before - 200_000, before + " bytes before, " + idle.logBytes() + " after");
        assertEquals(3_000, idle.recordCount(VALUE));
        idle.close();
        other.close();
    }

    /** Growth through node sizes, splits and directories keeps every key. */
    @Test
    void growsOneKeyGroup() {
        SlimEngine engine = new SlimEngine(new MemoryBudget(256 << 20), new UnsafeAllocator(), 0, 1, id -> "s");
        byte[] key = new byte[8];
        for (long i = 0; i < 600_000; i++) {
            ByteBuffer.wrap(key).putLong(i);
            engine.put(0, VALUE, load(key, keyMemory), 8, load(key, valueMemory), 8);
        }
        for (long i = 0; i < 600_000; i += 3) {
            ByteBuffer.wrap(key).putLong(i);
            assertTrue(engine.remove(0, VALUE, load(key, keyMemory), 8));
        }
        for (long i = 0; i < 600_000; i++) {
            ByteBuffer.wrap(key).putLong(i);
            long record = engine.find(0, VALUE, load(key, keyMemory), 8);
            assertEquals(i % 3 != 0, record != 0);
            assertTrue(record == 0 || Memory.equal(Record.valueAddress(record), load(key, valueMemory), 8));
        }
        System.out.println("bytes a record: " + (engine.liveBytes() + engine.indexBytes()) / 400_000.0);
        engine.close();
    }
}
