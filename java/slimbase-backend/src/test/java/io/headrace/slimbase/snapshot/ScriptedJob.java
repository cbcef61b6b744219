package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.SlimBaseStateBackend;
import io.headrace.slimbase.faults.WatchedFileSystem;
import io.headrace.slimbase.faults.WatchedPaths;
import io.headrace.slimbase.suites.SuiteBackends;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.TreeSet;
import java.util.concurrent.RunnableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.IntSupplier;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.runtime.io.disk.iomanager.IOManagerAsync;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.StateBackend;
import org.junit.jupiter.api.function.Executable;

/**
 * A job with a few times as much state as memory, whose files, of this machine and of the checkpoint storage, are all watched; and a model of its
 * state. Values are written over, removed and read, lists grow over files, timers come and go.
 */
final class ScriptedJob implements AutoCloseable {
    private static final long MEMORY_BYTES = 1280 << 10;
    private static final int UPLOAD_BUFFER_BYTES = 64 << 10;
    private static final int LISTS = 30;
    private static final int WAIT_S = 60;

    private final StateBackend factory;
    private final TestJobManager manager;
    private final Path local;
    private final int keys;
    private final Random random;
    private final List<Subtask> subtasks = new ArrayList<>();
    private final WatchedPaths paths = new WatchedPaths(WatchedFileSystem.WATCH);
    private int parallelism;
    private TestJob.Model model = TestJob.empty();
    private long nextId;

    private boolean managerActs;

    /** `local`: where files of this machine are. */
    ScriptedJob(TestJobManager manager, Path local, int keys, long firstCheckpoint) {
        this(new SlimBaseStateBackend(), manager, local, keys, firstCheckpoint);
    }

    ScriptedJob(StateBackend factory, TestJobManager manager, Path local, int keys, long firstCheckpoint) {
        this.factory = factory;
        this.manager = manager;
        this.local = local;
        this.keys = keys;
        this.nextId = firstCheckpoint;
        this.random = new Random(firstCheckpoint);
    }

    /** Of the checkpoint that is next. */
    long nextCheckpoint() {
        return nextId;
    }

    /** Whether what is done right now is done for the JobManager. */
    boolean managerActs() {
        return managerActs;
    }

    private interface Act {
        void run() throws Exception;
    }

    private void asManager(Act act) throws Exception {
        managerActs = true;
        try {
            act.run();
        } finally {
            managerActs = false;
        }
    }

    /** Starts from the newest completed checkpoint. */
    void start(int subtaskCount) throws Exception {
        stop();
        parallelism = subtaskCount;
        TestJobManager.Completed last = manager.restart();
        model = last == null ? TestJob.empty() : last.model.copy();
        Files.createDirectories(local);
        for (int index = 0; index < parallelism; index++) {
            KeyGroupRange range = KeyGroupRangeAssignment.computeKeyGroupRangeForOperatorIndex(Subtask.MAX_PARALLELISM, parallelism, index);
            List<KeyedStateHandle> handles = TestJob.intersecting(manager.handlesForRestore(), range);
            subtasks.add(new Subtask(factory, range, handles, null, MEMORY_BYTES, new Temporary()));
        }
    }

    /** Gives the backend a folder that is watched. */
    private final class Temporary extends IOManagerAsync {
        Temporary() {
            super(local.resolveSibling("flink-unused").toString());
        }

        @Override
        public File[] getSpillingDirectories() {
            return new File[] {paths.folder(local)};
        }
    }

    private Subtask of(int key) {
        return subtasks.get(KeyGroupRangeAssignment.assignKeyToParallelOperator(key, Subtask.MAX_PARALLELISM, parallelism));
    }

    /** Writes every n-th key's value, removes some, adds to lists, sets timers. */
    void write(int every) throws Exception {
        for (int key = random.nextInt(every); key < keys; key += every) {
            Subtask.Content content = model.of(key);
            String value = random.nextInt(12) == 0 ? null : text(1300);
            of(key).setValue(key, value);
            content.value = value;
            if (key < LISTS) {
                String element = text(400);
                of(key).addToList(key, element);
                content.list.add(element);
                of(key).setTimer(key, content.list.size(), true);
                model.timers.add(key + "@" + content.list.size());
            }
        }
    }

    private String text(int length) {
        StringBuilder text = new StringBuilder();
        while (text.length() < length) {
            text.append(Long.toString(random.nextLong(), 36));
        }
        return text.toString();
    }

    /** Where checkpoints are, and whether files that they have stay there. */
    enum Tiers {
        NEAR(WatchedFileSystem.NEAR, SuiteBackends.slimBase(NativeMode.AUTO)),
        FAR(WatchedFileSystem.FAR, SuiteBackends.slimBase(NativeMode.AUTO)),
        LEFT_IN_CHECKPOINTS(WatchedFileSystem.FAR, SuiteBackends.leavingFilesInCheckpoints(MemorySize.ofMebiBytes(8)));

        final String scheme;
        final StateBackend factory;

        Tiers(String scheme, StateBackend factory) {
            this.scheme = scheme;
            this.factory = factory;
        }
    }

    /** What becomes of a checkpoint. */
    enum Fate {
        COMPLETES,
        COMPLETES_UNHEARD,
        FAILS_LATE,
        IS_ABORTED
    }

    /** Takes a checkpoint while some keys are written. */
    void checkpoint(Fate fate) throws Exception {
        long id = nextId++;
        TestJob.Model atBarrier = model.copy();
        List<RunnableFuture<SnapshotResult<KeyedStateHandle>>> futures = new ArrayList<>();
        for (Subtask subtask : subtasks) {
            futures.add(subtask.begin(id, manager.streams(id, UPLOAD_BUFFER_BYTES), Subtask.checkpoint()));
        }
        try {
            write(20);
        } catch (Exception e) {
            futures.forEach(future -> future.cancel(true));
            throw e;
        }
        List<KeyedStateHandle> acknowledged = new ArrayList<>();
        Exception failure = null;
        for (RunnableFuture<SnapshotResult<KeyedStateHandle>> future : futures) {
            future.run();
            try {
                acknowledged.add(future.get().getJobManagerOwnedSnapshot());
            } catch (Exception e) {
                failure = e;
            }
        }
        if (failure != null || fate == Fate.IS_ABORTED || fate == Fate.FAILS_LATE) {
            asManager(() -> TestJobManager.discard(acknowledged));
            if (fate != Fate.FAILS_LATE) {
                for (Subtask subtask : subtasks) {
                    subtask.backend.notifyCheckpointAborted(id);
                }
            }
            return;
        }
        asManager(() -> manager.complete(id, acknowledged, atBarrier));
        if (fate == Fate.COMPLETES) {
            for (Subtask subtask : subtasks) {
                subtask.backend.notifyCheckpointComplete(id);
            }
        }
    }

    /** A checkpoint while nothing is written, which throws when it fails, and is given up when it does not. */
    void checkpointAlone() throws Exception {
        long id = nextId++;
        List<KeyedStateHandle> acknowledged = new ArrayList<>();
        try {
            for (Subtask subtask : subtasks) {
                acknowledged.add(
                        subtask.snapshot(id, manager.streams(id, UPLOAD_BUFFER_BYTES), Subtask.checkpoint()).getJobManagerOwnedSnapshot());
            }
        } finally {
            TestJobManager.discard(acknowledged);
            for (Subtask subtask : subtasks) {
                subtask.backend.notifyCheckpointAborted(id);
            }
        }
    }

    /** A walk over all keys with a value gives those of the model, each once. */
    void walk(String where) throws Exception {
        List<Integer> met = new ArrayList<>();
        for (Subtask subtask : subtasks) {
            met.addAll(subtask.keysWithValue());
        }
        met.sort(null);
        List<Integer> expected = new ArrayList<>();
        model.keys.forEach(
                (key, content) -> {
                    if (content.value != null) {
                        expected.add(key);
                    }
                });
        assertEquals(expected, met, where + " walk");
    }

    /** Everything is what the model says. */
    void verify(String where) throws Exception {
        verify(where, 1);
    }

    /** Every n-th key is what the model says, and the timers are. */
    void verify(String where, int every) throws Exception {
        TreeSet<String> timers = new TreeSet<>();
        for (Subtask subtask : subtasks) {
            timers.addAll(subtask.timers());
        }
        assertEquals(model.timers, timers, where + " timers");
        for (int key = 0; key < keys; key += every) {
            Subtask.Content expected = model.keys.getOrDefault(key, new Subtask.Content());
            assertEquals(expected.toString(), of(key).read(key).toString(), where + " key=" + key);
        }
    }

    /** Waits until restored files are copied to this machine, but for so many at most. */
    void awaitCopies(IntSupplier left) throws InterruptedException {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(WAIT_S);
        while (gauge("restoredFilesLeft") > left.getAsInt()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("restored files were not copied, wait_s=" + WAIT_S);
            }
            TimeUnit.MILLISECONDS.sleep(1);
        }
    }

    /** A gauge's sum over the subtasks. */
    long gauge(String name) {
        return subtasks.stream().mapToLong(subtask -> subtask.gauges.number(name)).sum();
    }

    /**
     * The steps of a life, of which each may be cut short: from nothing to state in files that were merged, four checkpoints, a rescale, and an end.
     *
     * @param uncopied how many restored files need not be copied before it goes on
     */
    List<Executable> steps(IntSupplier uncopied) {
        List<Executable> steps = new ArrayList<>();
        steps.add(() -> start(1));
        steps.add(() -> write(1));
        steps.add(() -> checkpoint(Fate.COMPLETES));
        steps.add(() -> write(2));
        steps.add(() -> write(1));
        steps.add(() -> checkpoint(Fate.IS_ABORTED));
        steps.add(() -> checkpoint(Fate.COMPLETES_UNHEARD));
        steps.add(() -> start(2));
        steps.add(() -> verify("restored", 10));
        steps.add(() -> awaitCopies(uncopied));
        steps.add(() -> write(1));
        steps.add(() -> write(1));
        steps.add(() -> checkpoint(Fate.COMPLETES));
        steps.add(() -> write(3));
        steps.add(() -> verify("at the end", 3));
        steps.add(this::stop);
        return steps;
    }

    void stop() throws Exception {
        Exception failure = null;
        for (Subtask subtask : subtasks) {
            try {
                subtask.close();
            } catch (Exception e) {
                failure = e;
            }
        }
        subtasks.clear();
        if (failure != null) {
            throw failure;
        }
    }

    @Override
    public void close() throws Exception {
        stop();
    }
}
