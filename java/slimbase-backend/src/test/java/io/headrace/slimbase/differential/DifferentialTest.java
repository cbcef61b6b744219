package io.headrace.slimbase.differential;

import static org.assertj.core.api.Assertions.assertThat;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.suites.SuiteBackends;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Function;
import java.util.stream.LongStream;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.CheckpointType;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.checkpoint.SnapshotType;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.AbstractStateBackend;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.hashmap.HashMapStateBackend;
import org.apache.flink.runtime.state.ttl.MockTtlTimeProvider;
import org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackend;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Random scripts give the same answers on SlimBase (with the native library and without), hashmap and rocksdb, whatever is done in between:
 * checkpoints beside running operations, confirmed or aborted, crashes and restores, other parallelism, canonical savepoints handed around.
 *
 * <p>{@code -Dslimbase.ops=N} runs N operations a script, {@code -Dslimbase.seeds=M} M scripts a kind of key, {@code -Dslimbase.seed=S} one script
 * only. The seed is printed. A short script has few keys and many events; of long ones, two in three have more keys and rarer events, so that state grows.
 */
class DifferentialTest {
    private static final long OPERATIONS = Long.getLong("slimbase.ops", 12_000);
    private static final int[] PARALLELISMS = {1, 2, 4, 3};
    private static final int SCRIPTS = Integer.getInteger("slimbase.seeds", 2);
    private static final long LONG_SCRIPT = 100_000;
    /** By the seed of a long script. */
    private static final int[] KEYS = {40, 400, 2_000};
    /** An event, restores above all, costs as much as 5,000 operations. */
    private static final int[] EVENT_ONE_IN = {5_000, 50_000, 100_000};
    private static final int SHORT_EVENT_ONE_IN = 600;
    private static final int LONGEST_KEY = 100;
    /** Little memory for one of the two SlimBases, so that it cleans for want of room. */
    private static final MemorySize LITTLE = MemorySize.ofMebiBytes(32);

    /** So little for a third one that much of the state is in files. */
    private static final long HARDLY_ANY = 1 << 20;

    @TempDir Path folder;

    private final MockTtlTimeProvider clock = new MockTtlTimeProvider();
    private final ExecutorService executor = Executors.newFixedThreadPool(2);
    private long checkpoints;
    private int parallelism = 1;

    /** Long keys, the fast path. */
    @Test
    void scriptsOverLongKeysAgree() throws Exception {
        for (long seed : seeds(1)) {
            run(seed, LongSerializer.INSTANCE, i -> (long) i * 7919);
        }
    }

    /** Keys of any length. */
    @Test
    void scriptsOverStringKeysAgree() throws Exception {
        for (long seed : seeds(1001)) {
            run(seed, StringSerializer.INSTANCE, i -> i % 5 == 0 ? "" + i : "key-" + "x".repeat(i % LONGEST_KEY) + i);
        }
    }

    private static long[] seeds(long first) {
        Long one = Long.getLong("slimbase.seed");
        return one != null ? new long[] {one} : LongStream.range(first, first + SCRIPTS).toArray();
    }

    private static int keyCount(long seed) {
        return OPERATIONS < LONG_SCRIPT ? KEYS[0] : KEYS[(int) (seed % KEYS.length)];
    }

    private static int eventOneIn(long seed) {
        return OPERATIONS < LONG_SCRIPT ? SHORT_EVENT_ONE_IN : EVENT_ONE_IN[(int) (seed % KEYS.length)];
    }

    private <K> void run(long seed, TypeSerializer<K> keySerializer, Function<Integer, K> keys) throws Exception {
        System.out.println("differential script, seed=" + seed + ", keys=" + keySerializer.getClass().getSimpleName() + ", ops=" + OPERATIONS);
        List<Subject<K>> subjects = new ArrayList<>();
        subjects.add(new Subject<>("hashmap", new HashMapStateBackend(), keySerializer, clock, dir("hashmap", seed)));
        subjects.add(new Subject<>("rocksdb", new EmbeddedRocksDBStateBackend(true), keySerializer, clock, dir("rocksdb", seed)));
        subjects.add(new Subject<>("slimbase", SuiteBackends.slimBase(NativeMode.AUTO), keySerializer, clock, dir("slimbase", seed)));
        subjects.add(new Subject<>("slimbase-java", SuiteBackends.slimBase(NativeMode.OFF, LITTLE), keySerializer, clock, dir("slimbase-java", seed)));
        // With odd seeds files that a completed checkpoint has are read from there.
        AbstractStateBackend inFiles =
                seed % 2 == 0 ? SuiteBackends.slimBase(NativeMode.AUTO) : SuiteBackends.leavingFilesInCheckpoints(MemorySize.ofMebiBytes(64));
        subjects.add(new Subject<>("slimbase-files", inFiles, keySerializer, clock, dir("slimbase-files", seed), HARDLY_ANY));
        try {
            new Run<>(subjects, keys, seed).all();
        } finally {
            for (Subject<K> subject : subjects) {
                subject.stop();
            }
        }
    }

    private Path dir(String name, long seed) throws Exception {
        return java.nio.file.Files.createDirectories(folder.resolve(name + seed));
    }

    /** One script. */
    private final class Run<K> {
        private final List<Subject<K>> subjects;
        private final Function<Integer, K> keys;
        private final Random random;
        private final long seed;
        private final Operations<K> operations;
        private final int keyCount;
        private final int eventOneIn;
        private List<List<KeyedStateHandle>> last = new ArrayList<>();
        private long lastTime;
        private List<Subject.Snapshot> running;
        private long runningTime;
        private long done;

        private Run(List<Subject<K>> subjects, Function<Integer, K> keys, long seed) {
            this.subjects = subjects;
            this.keys = keys;
            this.seed = seed;
            this.keyCount = keyCount(seed);
            this.eventOneIn = eventOneIn(seed);
            this.random = new Random(seed);
            this.operations = new Operations<>(random);
        }

        private void all() throws Exception {
            clock.time = 1_000;
            lastTime = clock.time;
            for (Subject<K> subject : subjects) {
                subject.start(parallelism, List.of());
                last.add(List.of());
            }
            for (done = 0; done < OPERATIONS; done++) {
                step();
            }
            finishCheckpoint(true);
            compareAll();
        }

        private void step() throws Exception {
            clock.time += random.nextInt(4);
            if (random.nextInt(eventOneIn) == 0) {
                event();
                return;
            }
            K key = keys.apply(random.nextInt(keyCount));
            Operation<K> operation = operations.draw(key);
            Object expected = null;
            for (int i = 0; i < subjects.size(); i++) {
                Object answer = operation.apply(subjects.get(i).at(key));
                if (i == 0) {
                    expected = answer;
                } else if (!Objects.equals(answer, expected)) {
                    assertThat(answer)
                            .as("seed=%s, operation=%s (%s), key=%s, backend=%s", seed, done, operations.drawn(), key, subjects.get(i).name())
                            .isEqualTo(expected);
                }
            }
        }

        private void event() throws Exception {
            int what = random.nextInt(10);
            if (what < 4) {
                finishCheckpoint(random.nextInt(4) > 0);
                startCheckpoint(what == 0 ? CheckpointType.FULL_CHECKPOINT : CheckpointType.CHECKPOINT);
            } else if (what < 6) {
                finishCheckpoint(random.nextBoolean());
                restore(parallelism);
            } else if (what < 8) {
                finishCheckpoint(true);
                restore(PARALLELISMS[random.nextInt(PARALLELISMS.length)]);
            } else if (what < 9) {
                nativeSavepoint();
            } else {
                switchBackends();
            }
        }

        private void startCheckpoint(SnapshotType type) throws Exception {
            long id = ++checkpoints;
            running = new ArrayList<>();
            runningTime = clock.time;
            CheckpointOptions options = new CheckpointOptions(type, CheckpointStorageLocationReference.getDefault());
            for (Subject<K> subject : subjects) {
                running.add(subject.checkpoint(id, options, executor));
            }
        }

        private void finishCheckpoint(boolean confirmed) throws Exception {
            if (running == null) {
                return;
            }
            List<List<KeyedStateHandle>> handles = new ArrayList<>();
            for (int i = 0; i < subjects.size(); i++) {
                handles.add(running.get(i).handles());
                if (confirmed) {
                    subjects.get(i).confirm(running.get(i).id);
                } else {
                    subjects.get(i).abort(running.get(i).id);
                }
            }
            if (confirmed) {
                last = handles;
                lastTime = runningTime;
            }
            running = null;
        }

        /** Everything since the last confirmed checkpoint is lost; time is not. */
        private void restore(int newParallelism) throws Exception {
            parallelism = newParallelism;
            for (int i = 0; i < subjects.size(); i++) {
                subjects.get(i).start(parallelism, last.get(i));
            }
            assertThat(lastTime).isLessThanOrEqualTo(clock.time);
        }

        private void nativeSavepoint() throws Exception {
            finishCheckpoint(true);
            startCheckpoint(SavepointType.savepoint(SavepointFormatType.NATIVE));
            List<List<KeyedStateHandle>> handles = new ArrayList<>();
            for (Subject.Snapshot snapshot : running) {
                handles.add(snapshot.handles());
            }
            running = null;
            last = handles;
            restore(PARALLELISMS[random.nextInt(PARALLELISMS.length)]);
        }

        /** Each subject goes on from the canonical savepoint of another one. */
        private void switchBackends() throws Exception {
            finishCheckpoint(true);
            long id = ++checkpoints;
            List<List<KeyedStateHandle>> handles = new ArrayList<>();
            for (Subject<K> subject : subjects) {
                handles.add(subject.savepoint(id, executor).handles());
            }
            int shift = 1 + random.nextInt(subjects.size() - 1);
            List<List<KeyedStateHandle>> shifted = new ArrayList<>();
            for (int i = 0; i < subjects.size(); i++) {
                shifted.add(handles.get((i + shift) % subjects.size()));
            }
            last = shifted;
            lastTime = clock.time;
            restore(PARALLELISMS[random.nextInt(PARALLELISMS.length)]);
        }

        /** All keys of states without time to live, as the backends list them; then all timers, which are taken out. */
        private void compareAll() throws Exception {
            compareKeys();
            List<List<String>> timers = new ArrayList<>();
            for (Subject<K> subject : subjects) {
                timers.add(subject.drainTimers());
            }
            for (int i = 1; i < timers.size(); i++) {
                assertThat(timers.get(i)).as("seed=%s, timers of %s", seed, subjects.get(i).name()).isEqualTo(timers.get(0));
            }
        }

        private void compareKeys() throws Exception {
            for (String state : List.of("long0", "string0", "list0", "reducing0", "aggregating0")) {
                List<List<String>> found = new ArrayList<>();
                for (Subject<K> subject : subjects) {
                    List<String> all = new ArrayList<>();
                    for (Subject.Subtask<K> subtask : subject.subtasks()) {
                        subtask.backend.getKeys(state, VoidNamespace.INSTANCE).forEach(key -> all.add(String.valueOf(key)));
                    }
                    all.sort(null);
                    found.add(all);
                }
                for (int i = 1; i < found.size(); i++) {
                    assertThat(found.get(i)).as("seed=%s, keys of %s on %s", seed, state, subjects.get(i).name()).isEqualTo(found.get(0));
                }
            }
        }
    }
}
