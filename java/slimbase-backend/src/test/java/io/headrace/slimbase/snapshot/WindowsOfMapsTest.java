package io.headrace.slimbase.snapshot;

import static org.assertj.core.api.Assertions.assertThat;

import io.headrace.slimbase.SlimBaseStateBackend;
import java.util.ArrayDeque;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.hashmap.HashMapStateBackend;
import org.apache.flink.runtime.state.memory.MemCheckpointStreamFactory;
import org.junit.jupiter.api.Test;

/**
 * A window over maps of which most lies in files: the oldest entries, which roots list as removed while their pages are far, are gone for reads and
 * walks, in checkpoints and in savepoints; what comes back under the same user key is there.
 */
class WindowsOfMapsTest {
    private static final int KEYS = 2_000;
    private static final int WINDOW = 80_000;
    private static final long MEMORY_BYTES = 4 << 20;
    private static final KeyGroupRange ALL = new KeyGroupRange(0, Subtask.MAX_PARALLELISM - 1);
    private static final String PADDING = "x".repeat(60);

    private final Random random = new Random(5);
    private final Map<Integer, TreeMap<String, Long>> model = new TreeMap<>();
    private final ArrayDeque<Integer> window = new ArrayDeque<>();
    private long time;

    @Test
    void whatHasLeftIsGoneEverywhere() throws Exception {
        Collection<KeyedStateHandle> checkpoint;
        try (Subtask subtask = open(new SlimBaseStateBackend(), List.of())) {
            slide(subtask, 200_000);
            verify(subtask, "never restored");
            checkpoint = snapshot(subtask, 1);
        }
        Collection<KeyedStateHandle> savepoint;
        try (Subtask subtask = open(new SlimBaseStateBackend(), checkpoint)) {
            verify(subtask, "from a checkpoint");
            slide(subtask, 60_000);
            comeBack(subtask);
            verify(subtask, "after more rows");
            savepoint = List.of(subtask.canonicalSavepoint(2, new MemCheckpointStreamFactory(100 << 20)));
        }
        try (Subtask subtask = open(new HashMapStateBackend(), savepoint)) {
            verify(subtask, "hashmap from a savepoint");
        }
        try (Subtask subtask = open(new SlimBaseStateBackend(), savepoint)) {
            verify(subtask, "slimbase from a savepoint");
            slide(subtask, 2 * WINDOW);
            verify(subtask, "with other rows only");
        }
    }

    private static Subtask open(StateBackend backend, Collection<KeyedStateHandle> handles) throws Exception {
        return new Subtask(backend, ALL, handles, null, MEMORY_BYTES);
    }

    private static Collection<KeyedStateHandle> snapshot(Subtask subtask, long id) throws Exception {
        return List.of(
                subtask.snapshot(id, new MemCheckpointStreamFactory(100 << 20), Subtask.checkpoint()).getJobManagerOwnedSnapshot());
    }

    /** Rows of random keys come, and each lets the oldest go; now and then one leaves out of its turn. */
    private void slide(Subtask subtask, int rows) throws Exception {
        for (int i = 0; i < rows; i++, time++) {
            int key = random.nextInt(KEYS);
            put(subtask, key, entry(time));
            window.add(key);
            if (window.size() > WINDOW) {
                remove(subtask, window.poll(), entry(time - WINDOW));
            }
            if (random.nextInt(100) == 0) {
                int any = random.nextInt(KEYS);
                TreeMap<String, Long> map = model.get(any);
                if (map != null && !map.isEmpty()) {
                    remove(subtask, any, random.nextBoolean() ? map.firstKey() : map.lastKey());
                }
            }
        }
    }

    /** Entries that have just left, or were never there, of half of the keys. */
    private void comeBack(Subtask subtask) throws Exception {
        for (int key = 0; key < KEYS; key += 2) {
            TreeMap<String, Long> map = model.get(key);
            if (map == null || map.size() < 3) {
                continue;
            }
            String first = map.firstKey();
            remove(subtask, key, first);
            if (key % 4 == 0) {
                put(subtask, key, first);
            } else {
                remove(subtask, key, first);
                put(subtask, key, first.substring(0, 9));
            }
        }
    }

    private static String entry(long number) {
        return String.format("%010d", number) + PADDING;
    }

    private void put(Subtask subtask, int key, String entry) throws Exception {
        subtask.putInMap(key, entry, time);
        model.computeIfAbsent(key, missing -> new TreeMap<>()).put(entry, time);
    }

    private void remove(Subtask subtask, int key, String entry) throws Exception {
        subtask.putInMap(key, entry, null);
        model.computeIfAbsent(key, missing -> new TreeMap<>()).remove(entry);
    }

    private void verify(Subtask subtask, String when) throws Exception {
        for (int key = 0; key < KEYS; key++) {
            assertThat(subtask.read(key).map).as("%s, key %d", when, key).isEqualTo(model.getOrDefault(key, new TreeMap<>()));
        }
    }
}
