package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.cold.LocalColdStore;
import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.engine.KeyGroupSpan;
import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.MemoryBudget;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.engine.SnapshotView;
import io.headrace.slimbase.engine.UnsafeAllocator;
import io.headrace.slimbase.registry.StateInfo;
import io.headrace.slimbase.registry.StateKind;
import io.headrace.slimbase.registry.StateRegistry;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.typeutils.base.ListSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.ttl.MockTtlTimeProvider;
import org.apache.flink.runtime.state.ttl.TtlStateFactory;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Files in which all has expired go without being read; what is in them never makes something older visible, and nothing that is wanted goes with them. */
class WholeFilesExpireTest {
    private static final long MEMORY_BYTES = 2 << 20;
    private static final long TTL_MS = 1_000;
    private static final int KEY_GROUPS = 4;
    private static final int VALUE_BYTES = 300;
    /** Ten seconds. */
    private static final int DELETE_POLLS = 1_000;

    /** So long a snapshot waits to be read: some more are taken meanwhile. */
    private static final int LATE_MS = 20;

    /** Of the model: twice the memory. */
    private static final int KEYS = 12_000;

    private final Path folder;
    private final MockTtlTimeProvider clock = new MockTtlTimeProvider();
    private final StateRegistry registry = new StateRegistry();
    private final StateInfo values = registry.register("values", StateKind.VALUE, null, TTL_MS);
    private final StateInfo plain = registry.register("plain", StateKind.VALUE, null, 0);
    private final StateInfo lists =
            registry.register(
                    "lists",
                    StateKind.LIST,
                    new RegisteredKeyValueStateBackendMetaInfo<>(
                            StateDescriptor.Type.LIST,
                            "lists",
                            VoidNamespaceSerializer.INSTANCE,
                            new ListSerializer<>(new TtlStateFactory.TtlSerializer<>(LongSerializer.INSTANCE, LongSerializer.INSTANCE))),
                    TTL_MS);
    private final SlimEngine engine;
    private final ScheduledExecutorService reader = Executors.newSingleThreadScheduledExecutor();
    private final long scratch = Memory.allocate(1024);

    WholeFilesExpireTest(@TempDir Path folder) {
        this.folder = folder;
        engine =
                new SlimEngine(
                        new MemoryBudget(MEMORY_BYTES),
                        new UnsafeAllocator(),
                        new KeyGroupSpan(0, KEY_GROUPS),
                        registry,
                        new LocalColdStore(folder.resolve("files"), new StateExpiry(registry, clock), 0));
    }

    @AfterEach
    void close() throws InterruptedException {
        reader.shutdownNow();
        assertTrue(reader.awaitTermination(10, TimeUnit.SECONDS));
        engine.close();
        Memory.free(scratch);
    }

    private long key(long key) {
        Memory.putLong(scratch, key);
        return scratch;
    }

    private static int groupOf(long key) {
        return (int) (key % KEY_GROUPS);
    }

    /** A value that begins with its time. */
    private void put(StateInfo state, long key, long time, long content) {
        Memory.putLong(scratch + 8, Long.reverseBytes(time));
        Memory.putLong(scratch + 16, content);
        engine.put(groupOf(key), state.identity(), key(key), Long.BYTES, scratch + 8, VALUE_BYTES);
    }

    private void remove(StateInfo state, long key) {
        engine.remove(groupOf(key), state.identity(), key(key), Long.BYTES);
    }

    /** The value's content; null when there is none. */
    private Long get(StateInfo state, long key) {
        long record = engine.find(groupOf(key), state.identity(), key(key), Long.BYTES);
        return record == 0 ? null : Memory.getLong(Record.valueAddress(record) + 8);
    }

    private void barrier() {
        engine.seal().close();
    }

    private void fill(StateInfo state, long from, int count, long time) {
        for (long key = from; key < from + count; key++) {
            put(state, key, time, key);
        }
    }

    /** Until no more files are merged: those that are being merged stay. */
    private void awaitMerges() {
        long before = -1;
        while (engine.isMerging() || engine.tierStatistics().mergedBytes() != before) {
            before = engine.tierStatistics().mergedBytes();
            LockSupport.parkNanos(1_000_000);
            barrier();
        }
    }

    /** Files are deleted beside the task. */
    private void awaitDeleted(int left) {
        for (int i = 0; i < DELETE_POLLS && namesLeft() > left; i++) {
            LockSupport.parkNanos(10_000_000);
        }
        assertTrue(namesLeft() <= left, namesLeft() + " files on the disk");
    }

    private int namesLeft() {
        return folder.resolve("files").toFile().listFiles((at, name) -> name.endsWith(".slim")).length;
    }

    private long files() {
        return engine.tierStatistics().fileCount();
    }

    /** Many times the memory comes and expires: all files go at the next barrier, nothing of them was written again. */
    @Test
    void expiredFilesGo() {
        clock.time = 10;
        fill(values, 0, 30_000, clock.time);
        awaitMerges();
        assertTrue(files() > 1, files() + " files");
        long mergedBefore = engine.tierStatistics().mergedBytes();
        clock.time = 10 + TTL_MS - 1;
        barrier();
        assertTrue(files() > 1, "wanted a millisecond longer");
        clock.time = 10 + TTL_MS;
        barrier();
        // One whose segment is leaving memory stays, and one may just be written.
        assertTrue(files() <= 1, files() + " files");
        awaitDeleted(2);
        assertTrue(engine.tierStatistics().expiredFiles() > 1);
        assertTrue(engine.tierStatistics().expiredFileBytes() > engine.tierStatistics().fileBytes());
        assertEquals(mergedBefore, engine.tierStatistics().mergedBytes());
    }

    /** A file stays for one value that has no time to live, and for one that was used last when the clock was ahead. */
    @Test
    void oneWantedEntryKeepsItsFile() {
        put(plain, 1, 0, 77);
        fill(values, 0, 5_000, 0);
        long ahead = 50 * TTL_MS;
        put(values, 5_000, ahead, 78);
        fill(values, 5_001, 20_000, 0);
        clock.time = 2 * TTL_MS;
        barrier();
        assertEquals(77, get(plain, 1));
        assertEquals(78, get(values, 5_000));
    }

    /** What hides older values stays as long as they do, although all that it has itself has expired. */
    @Test
    void deletedDoesNotComeBack() {
        fill(plain, 0, 10_000, 0);
        for (long key = 0; key < 10_000; key++) {
            remove(plain, key);
        }
        fill(values, 0, 20_000, 0);
        clock.time = 2 * TTL_MS;
        barrier();
        for (long key = 0; key < 10_000; key++) {
            assertEquals(null, get(plain, key));
        }
    }

    /** After a restore a state's time to live is unknown until the job registers it, and then it is the job's: longer, shorter or none. */
    @Test
    void presentTimeToLiveCounts() {
        StateRegistry restored = new StateRegistry();
        StateInfo state = restored.restore("s", 5, StateKind.VALUE, null, TTL_MS);
        StateExpiry expiry = new StateExpiry(restored, clock);
        clock.time = 100 * TTL_MS;
        assertFalse(expiry.isExpired(5, 0), "not registered yet");
        assertEquals(null, expiry.filter());
        state.setTtlMs(200 * TTL_MS);
        assertFalse(expiry.isExpired(5, 0));
        state.setTtlMs(TTL_MS);
        assertTrue(expiry.isExpired(5, 0));
        state.setTtlMs(0);
        assertFalse(expiry.isExpired(5, 0));
        assertFalse(expiry.isExpired(6, 0), "no such state");
    }

    /** What a value may be after its last write: itself, or nothing once it may have expired. */
    private static final class Written {
        final long time;
        final long content;

        Written(long time, long content) {
            this.time = time;
            this.content = content;
        }
    }

    /**
     * Random writes under a clock that also goes back, barriers, snapshots that are read late. A read gives the newest version, or nothing where that has
     * expired; what has no time to live is exact; a list has at least the elements that are not expired, in order.
     */
    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
    void model(long seed) throws Exception {
        Random random = new Random(seed);
        Map<Long, Written> newest = new HashMap<>();
        Map<Long, Long> kept = new HashMap<>();
        Map<Long, List<Written>> listed = new HashMap<>();
        List<Future<?>> snapshots = new ArrayList<>();
        long latest = 0;
        int plainShare = seed % 2 == 0 ? 2_000 : 40;
        for (int i = 0; i < 150_000; i++) {
            long key = random.nextInt(KEYS);
            int action = random.nextInt(100);
            if (random.nextInt(plainShare) == 0) {
                if (random.nextInt(3) == 0) {
                    remove(plain, key);
                    kept.remove(key);
                } else {
                    put(plain, key, 0, i);
                    kept.put(key, (long) i);
                }
            } else if (action < 60) {
                put(values, key, clock.time, i);
                newest.put(key, new Written(clock.time, i));
            } else if (action < 65) {
                remove(values, key);
                newest.remove(key);
            } else if (action < 80) {
                append(key, clock.time, i);
                listed.computeIfAbsent(key, ignored -> new ArrayList<>()).add(new Written(clock.time, i));
            } else if (action < 90) {
                check(key, newest, kept, listed, latest);
            } else if (random.nextInt(40) == 0) {
                clock.time += random.nextInt(5) == 0 ? -random.nextInt(300) : random.nextInt(400);
                latest = Math.max(latest, clock.time);
                SnapshotView snapshot = engine.seal();
                // By another thread: what it has not read yet keeps memory, for which writers may have to wait.
                snapshots.add(reader.schedule(() -> readThrough(snapshot), LATE_MS, TimeUnit.MILLISECONDS));
            }
        }
        for (long key = 0; key < KEYS; key++) {
            check(key, newest, kept, listed, latest);
        }
        for (Future<?> snapshot : snapshots) {
            snapshot.get();
        }
        assertTrue(engine.tierStatistics().fileLookups() > 5_000, engine.tierStatistics().fileLookups() + " lookups in files");
        assertTrue(plainShare < 100 || engine.tierStatistics().expiredFiles() > 0, engine.tierStatistics().expiredFiles() + " expired files");
    }

    private void append(long key, long time, long content) {
        Memory.putLong(scratch + 8, Long.reverseBytes(time));
        Memory.putLong(scratch + 16, content);
        engine.appendToList(groupOf(key), lists.identity(), key(key), Long.BYTES, scratch + 8, 16);
    }

    private void check(long key, Map<Long, Written> newest, Map<Long, Long> kept, Map<Long, List<Written>> listed, long latest) {
        assertEquals(kept.get(key), get(plain, key), "key " + key);
        Written expected = newest.get(key);
        Long found = get(values, key);
        if (found == null) {
            assertTrue(expected == null || expected.time + TTL_MS <= latest, "key " + key + " is gone");
        } else {
            assertEquals(expected == null ? null : expected.content, found, "key " + key);
        }
        int at = 0;
        List<Long> elements = elements(key);
        for (Written each : listed.getOrDefault(key, List.of())) {
            boolean isNext = at < elements.size() && elements.get(at) == each.content;
            assertTrue(isNext || each.time + TTL_MS <= latest, "element " + each.content + " of key " + key + " is gone");
            at += isNext ? 1 : 0;
        }
        assertEquals(elements.size(), at, "elements of key " + key);
    }

    private List<Long> elements(long key) {
        long record = engine.find(groupOf(key), lists.identity(), key(key), Long.BYTES);
        List<Long> elements = new ArrayList<>();
        if (record != 0) {
            long[] blocks = new long[4096];
            int count = engine.chain(record, blocks);
            assertTrue(count <= blocks.length, count + " blocks");
            for (int i = count - 1; i >= 0; i--) {
                long block = Record.valueAddress(blocks[i]);
                for (int n = 0; n < Memory.getInt(block + 4); n++) {
                    elements.add(Memory.getLong(block + 8 + n * 17L + 8));
                }
            }
        }
        return elements;
    }

    /** A snapshot's files stay until it has read them. */
    private static void readThrough(SnapshotView snapshot) {
        for (SegmentView segment : snapshot.segments()) {
            ColdFile file = segment.read();
            for (int group = 0; file != null && group < KEY_GROUPS; group++) {
                try (ColdFile.Cursor cursor = file.cursor(group)) {
                    while (cursor.next()) {
                        assertTrue(cursor.keyLength() == Long.BYTES);
                    }
                }
            }
        }
        snapshot.close();
    }
}
