package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.StateBackend;

/** Subtasks of one operator, and a model of what they hold. */
final class TestJob implements AutoCloseable {
    static final int KEYS = 300;

    /** What all keys have, and the timers. */
    static final class Model {
        final Map<Integer, Subtask.Content> keys = new TreeMap<>();
        final TreeSet<String> timers = new TreeSet<>();

        Subtask.Content of(int key) {
            return keys.computeIfAbsent(key, ignored -> new Subtask.Content());
        }

        Model copy() {
            Model copy = new Model();
            keys.forEach((key, content) -> copy.keys.put(key, content.copy()));
            copy.timers.addAll(timers);
            return copy;
        }
    }

    final List<Subtask> subtasks = new ArrayList<>();
    final Model model;
    private final Random random;

    /** `handles`: of all subtasks of the checkpoint that is restored. */
    TestJob(StateBackend factory, int parallelism, List<KeyedStateHandle> handles, Model model, Random random, LocalRecoveryConfig local)
            throws Exception {
        this(factory, parallelism, handles, model, random, local, Subtask.MEMORY_BYTES);
    }

    /** With so much managed memory for each subtask. */
    TestJob(
            StateBackend factory,
            int parallelism,
            List<KeyedStateHandle> handles,
            Model model,
            Random random,
            LocalRecoveryConfig local,
            long memoryBytes)
            throws Exception {
        this.model = model;
        this.random = random;
        try {
            for (int index = 0; index < parallelism; index++) {
                KeyGroupRange range =
                        KeyGroupRangeAssignment.computeKeyGroupRangeForOperatorIndex(Subtask.MAX_PARALLELISM, parallelism, index);
                subtasks.add(new Subtask(factory, range, intersecting(handles, range), local, memoryBytes));
            }
        } catch (Exception e) {
            close();
            throw e;
        }
    }

    /** As Flink's assignment of state does: handles whose range meets ours; key-group handles are cut to it. */
    static List<KeyedStateHandle> intersecting(List<KeyedStateHandle> handles, KeyGroupRange range) {
        List<KeyedStateHandle> ours = new ArrayList<>();
        for (KeyedStateHandle handle : handles) {
            KeyedStateHandle part = handle == null ? null : handle.getIntersection(range);
            if (part != null) {
                ours.add(part);
            }
        }
        return ours;
    }

    private Subtask of(int key) {
        return subtasks.get(
                KeyGroupRangeAssignment.assignKeyToParallelOperator(key, Subtask.MAX_PARALLELISM, subtasks.size()));
    }

    /** Random operations on all states, done to the model, too. */
    void change(int operations) throws Exception {
        for (int i = 0; i < operations; i++) {
            int key = random.nextInt(KEYS);
            Subtask subtask = of(key);
            Subtask.Content content = model.of(key);
            int what = random.nextInt(20);
            if (what < 7) {
                content.value = what == 0 ? null : text();
                subtask.setValue(key, content.value);
            } else if (what < 11) {
                String element = text();
                content.list.add(element);
                subtask.addToList(key, element);
            } else if (what == 11) {
                content.list.clear();
                subtask.clearList(key);
            } else if (what < 17) {
                putInMap(key, subtask, content);
            } else {
                long time = random.nextInt(20);
                boolean present = random.nextInt(3) > 0;
                subtask.setTimer(key, time, present);
                String timer = key + "@" + time;
                if (present) {
                    model.timers.add(timer);
                } else {
                    model.timers.remove(timer);
                }
            }
        }
    }

    /** Key 0 has a large map of several pages. */
    private void putInMap(int key, Subtask subtask, Subtask.Content content) throws Exception {
        int range = key < 5 ? 400 : 5;
        String mapKey = "k" + random.nextInt(range);
        Long value = random.nextInt(4) == 0 ? null : random.nextLong();
        if (value == null) {
            content.map.remove(mapKey);
        } else {
            content.map.put(mapKey, value);
        }
        subtask.putInMap(key, mapKey, value);
    }

    private String text() {
        int length = random.nextInt(100) == 0 ? 3000 : random.nextInt(30);
        return Integer.toString(random.nextInt(1000)) + "x".repeat(length);
    }

    /** Compares everything with the model. */
    void verify(String where) throws Exception {
        TreeSet<String> timers = new TreeSet<>();
        for (Subtask subtask : subtasks) {
            timers.addAll(subtask.timers());
        }
        assertEquals(model.timers, timers, where + " timers");
        for (int key = 0; key < KEYS; key++) {
            Subtask.Content expected = model.keys.getOrDefault(key, new Subtask.Content());
            assertEquals(expected.toString(), of(key).read(key).toString(), where + " key=" + key);
        }
    }

    @Override
    public void close() throws Exception {
        for (Subtask subtask : subtasks) {
            subtask.close();
        }
        subtasks.clear();
    }

    static Model empty() {
        return new Model();
    }

    static List<KeyedStateHandle> noHandles() {
        return Collections.emptyList();
    }
}
