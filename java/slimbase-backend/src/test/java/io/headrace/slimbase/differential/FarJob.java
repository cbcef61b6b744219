package io.headrace.slimbase.differential;

import static org.assertj.core.api.Assertions.assertThat;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.faults.FilesBelow;
import io.headrace.slimbase.suites.SuiteBackends;
import java.io.File;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.state.AbstractStateBackend;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;
import org.apache.flink.runtime.state.ttl.MockTtlTimeProvider;

/** A job with several times as much state as memory, whose checkpoints are on a file system of other machines, and a model of its state. */
final class FarJob implements AutoCloseable {
    static final int KEYS = 40_000;
    private static final long MEMORY_BYTES = 1 << 20;
    private static final int VALUE_BYTES = 150;

    private final ExecutorService executor = Executors.newFixedThreadPool(4);
    private final TreeMap<Long, String> model = new TreeMap<>();
    private final Random random;
    private final Subject<Long> subject;
    private long checkpoints;
    private List<KeyedStateHandle> last = List.of();

    /** Starts with two subtasks and no state. */
    FarJob(String location, long seed) throws Exception {
        this(location, seed, SuiteBackends.slimBase(NativeMode.AUTO));
    }

    /** On a backend of the caller's. */
    FarJob(String location, long seed, AbstractStateBackend backend) throws Exception {
        random = new Random(seed);
        subject =
                new Subject<>(
                        "slimbase-far",
                        backend,
                        LongSerializer.INSTANCE,
                        new MockTtlTimeProvider(),
                        location,
                        MEMORY_BYTES);
        subject.start(2, List.of());
    }

    private ValueState<String> state(long key) throws Exception {
        return States.get(subject.at(key).backend, States.strings(0), 0, "");
    }

    /** Writes each key once: 6 MB that do not compress. */
    void fill() throws Exception {
        for (long key = 0; key < KEYS; key++) {
            put(key);
        }
    }

    private void put(long key) throws Exception {
        StringBuilder value = new StringBuilder();
        while (value.length() < VALUE_BYTES) {
            value.append(Long.toString(random.nextLong(), 36));
        }
        state(key).update(value.toString());
        model.put(key, value.toString());
    }

    /** Removes some keys and writes others. */
    void change(int times) throws Exception {
        for (int i = 0; i < times; i++) {
            long key = random.nextInt(KEYS);
            if (random.nextInt(4) == 0) {
                state(key).clear();
                model.remove(key);
            } else {
                put(key);
            }
        }
    }

    /** A completed checkpoint; gives the files that the one before has, too. */
    Set<String> checkpoint() throws Exception {
        long id = ++checkpoints;
        Subject.Snapshot snapshot = subject.checkpoint(id, CheckpointOptions.forCheckpointWithDefaultLocation(), executor);
        List<KeyedStateHandle> handles = snapshot.handles();
        subject.confirm(id);
        Set<String> shared = files(handles);
        shared.retainAll(files(last));
        last = handles;
        return shared;
    }

    /** Paths of the last checkpoint's files of state. */
    Set<String> files() {
        return files(last);
    }

    private static Set<String> files(List<KeyedStateHandle> handles) {
        Set<String> paths = new TreeSet<>();
        for (KeyedStateHandle handle : handles) {
            ((IncrementalRemoteKeyedStateHandle) handle)
                    .getSharedState()
                    .forEach(file -> addPath(file.getHandle(), paths));
        }
        return paths;
    }

    private static void addPath(StreamStateHandle handle, Set<String> paths) {
        // A small file is in the handle itself.
        if (handle instanceof FileStateHandle) {
            paths.add(((FileStateHandle) handle).getFilePath().toString());
        }
    }

    /** Deletes the last checkpoint's files of state. */
    void deleteFiles() throws Exception {
        for (String file : files()) {
            Path path = new Path(file);
            path.getFileSystem().delete(path, false);
        }
    }

    /** Gives up what runs and starts anew from the last checkpoint. */
    void restore(int parallelism) throws Exception {
        subject.start(parallelism, new ArrayList<>(last));
    }

    /** Looks up every key once, in random order. */
    void verify(String when) throws Exception {
        verify(when, KEYS);
    }

    /** Looks up some keys. */
    void verify(String when, int count) throws Exception {
        List<Long> keys = new ArrayList<>();
        for (long key = 0; key < KEYS; key++) {
            keys.add(key);
        }
        Collections.shuffle(keys, random);
        for (long key : keys.subList(0, count)) {
            assertThat(state(key).value()).as("%s, key %s", when, key).isEqualTo(model.get(key));
        }
    }

    /** A gauge's sum over the subtasks. */
    long gauge(String name) {
        return subject.subtasks().stream().mapToLong(subtask -> subtask.gauges.number(name)).sum();
    }

    /** Files of state on this machine. */
    List<String> localFiles() throws Exception {
        List<String> found = new ArrayList<>();
        for (Subject.Subtask<Long> subtask : subject.subtasks()) {
            File folder = subtask.environment.getIOManager().getSpillingDirectories()[0];
            FilesBelow.of(folder.toPath()).keySet().stream().map(java.nio.file.Path::toString).filter(path -> path.endsWith(".slim")).forEach(found::add);
        }
        return found;
    }

    @Override
    public void close() throws Exception {
        subject.stop();
        executor.shutdownNow();
    }
}
