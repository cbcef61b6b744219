package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.SlimBaseStateBackend;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.RunnableFuture;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.util.FileUtils;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Every order in which checkpoints of state beyond memory can begin, be uploaded, complete (with a notification or without), be aborted, and be
 * restored from, up to a length: no file that a retained checkpoint needs is missing, none is left over, and what is restored is what was there.
 *
 * <p>Flink's own registry of shared files keeps the books. {@code -Dslimbase.ownership.steps} sets the length: 3 in {@code make test}, 5 in
 * {@code make test-long}.
 */
class FileOwnershipTest {
    private static final int STEPS = Integer.getInteger("slimbase.ownership.steps", 3);
    private static final long MEMORY_BYTES = 1280 << 10;
    private static final int KEYS = 1_500;
    private static final int CHANGES = 120;
    private static final int RETAINED = 1;
    private static final int IN_FLIGHT = 2;

    @TempDir Path folder;

    /** What can happen next. */
    private enum Step {
        WRITE,
        BEGIN,
        UPLOAD,
        COMPLETE,
        COMPLETE_UNHEARD,
        COMPLETE_NEWEST,
        ABORT,
        ABORT_OLDER,
        RESTORE,
        RESCALE
    }

    /** A checkpoint that has begun and is neither complete nor given up. */
    private static final class Pending {
        final long id;
        final List<RunnableFuture<SnapshotResult<KeyedStateHandle>>> futures = new ArrayList<>();
        final List<KeyedStateHandle> acknowledged = new ArrayList<>();
        final TreeMap<Integer, String> content;
        boolean isUploaded;

        Pending(long id, TreeMap<Integer, String> content) {
            this.id = id;
            this.content = content;
        }
    }

    /** Which steps make sense after these; the bookkeeping is the one of {@link Life}, without its work. */
    private static void enumerate(List<Step> steps, int begun, int uploaded, List<List<Step>> all) {
        if (steps.size() == STEPS) {
            all.add(List.copyOf(steps));
            return;
        }
        Step last = steps.isEmpty() ? null : steps.get(steps.size() - 1);
        boolean isFresh = last == Step.RESTORE || last == Step.RESCALE;
        for (Step step : Step.values()) {
            boolean makesSense;
            int nextBegun = begun;
            int nextUploaded = uploaded;
            switch (step) {
                case WRITE:
                    makesSense = last != Step.WRITE;
                    break;
                case BEGIN:
                    makesSense = begun < IN_FLIGHT;
                    nextBegun++;
                    break;
                case UPLOAD:
                    makesSense = uploaded < begun;
                    nextUploaded++;
                    break;
                case COMPLETE:
                case COMPLETE_UNHEARD:
                    makesSense = uploaded > 0;
                    nextBegun--;
                    nextUploaded--;
                    break;
                case COMPLETE_NEWEST:
                    makesSense = uploaded > 1;
                    nextBegun = 0;
                    nextUploaded = 0;
                    break;
                case ABORT:
                    makesSense = begun > 0;
                    nextUploaded -= uploaded == begun ? 1 : 0;
                    nextBegun--;
                    break;
                case ABORT_OLDER:
                    makesSense = begun > 1;
                    nextUploaded -= uploaded > 0 ? 1 : 0;
                    nextBegun--;
                    break;
                default:
                    makesSense = !isFresh;
                    nextBegun = 0;
                    nextUploaded = 0;
            }
            if (makesSense) {
                steps.add(step);
                enumerate(steps, nextBegun, nextUploaded, all);
                steps.remove(steps.size() - 1);
            }
        }
    }

    /** All of them, one after the other; each begins with a completed checkpoint and an uploaded one, so that there are files to share. */
    @Test
    void everyOrder() throws Exception {
        List<List<Step>> all = new ArrayList<>();
        enumerate(new ArrayList<>(), 1, 1, all);
        boolean hadFiles = false;
        for (List<Step> steps : all) {
            Path here = Files.createDirectory(folder.resolve("life"));
            try (Life life = new Life(here, steps.toString())) {
                for (Step step : List.of(Step.WRITE, Step.BEGIN, Step.UPLOAD)) {
                    life.take(step);
                }
                for (Step step : steps) {
                    life.take(step);
                }
                life.take(Step.RESTORE);
                hadFiles |= life.hadFiles;
            }
            FileUtils.deleteDirectory(here.toFile());
        }
        assertTrue(hadFiles, "no state left memory");
        System.out.println("orders of steps: " + all.size());
    }

    /**
     * Writes of several times the memory while a checkpoint waits for its upload: segments that have become files are uploaded from there, so nobody
     * waits for the upload, and the checkpoint has what there was at its barrier.
     */
    @Test
    void writesDoNotWaitForAnUploadThatHasNotBegun() throws Exception {
        try (Life life = new Life(Files.createDirectory(folder.resolve("slow")), "slow upload")) {
            life.take(Step.BEGIN);
            TreeMap<Integer, String> atBarrier = new TreeMap<>(life.content);
            for (int i = 0; i < 20; i++) {
                life.take(Step.WRITE);
            }
            life.take(Step.UPLOAD);
            life.take(Step.COMPLETE);
            life.take(Step.RESTORE);
            assertEquals(atBarrier, life.content);
        }
    }

    /** One order of steps. */
    private static final class Life implements AutoCloseable {
        private final TestJobManager manager;
        private final String name;
        private final Random random = new Random(1);
        private final Deque<Pending> pending = new ArrayDeque<>();
        private final List<Subtask> subtasks = new ArrayList<>();
        private TreeMap<Integer, String> content = new TreeMap<>();
        private TreeMap<Integer, String> completed = new TreeMap<>();
        private long nextId = 1;
        private int parallelism = 1;
        boolean hadFiles;

        Life(Path folder, String name) throws Exception {
            this.name = name;
            manager = new TestJobManager(folder, RETAINED, 0);
            start();
            for (int key = 0; key < KEYS; key++) {
                put(key);
            }
            begin();
            upload();
            complete(true);
        }

        private void start() throws Exception {
            for (int index = 0; index < parallelism; index++) {
                KeyGroupRange range =
                        KeyGroupRangeAssignment.computeKeyGroupRangeForOperatorIndex(Subtask.MAX_PARALLELISM, parallelism, index);
                subtasks.add(
                        new Subtask(
                                new SlimBaseStateBackend(),
                                range,
                                TestJob.intersecting(manager.handlesForRestore(), range),
                                null,
                                MEMORY_BYTES));
            }
        }

        private Subtask of(int key) {
            return subtasks.get(KeyGroupRangeAssignment.assignKeyToParallelOperator(key, Subtask.MAX_PARALLELISM, parallelism));
        }

        private void put(int key) throws Exception {
            StringBuilder value = new StringBuilder();
            for (int left = 60 + random.nextInt(60); left > 0; left--) {
                value.append(Long.toString(random.nextLong(), 36));
            }
            content.put(key, value.toString());
            of(key).setValue(key, value.toString());
        }

        void take(Step step) throws Exception {
            switch (step) {
                case WRITE:
                    write();
                    break;
                case BEGIN:
                    begin();
                    break;
                case UPLOAD:
                    upload();
                    break;
                case COMPLETE:
                    complete(true);
                    break;
                case COMPLETE_UNHEARD:
                    complete(false);
                    break;
                case COMPLETE_NEWEST:
                    // As Flink does: a checkpoint that completes drops older ones that are still under way.
                    TestJobManager.discard(pending.removeFirst().acknowledged);
                    complete(true);
                    break;
                case ABORT:
                    abort(pending.removeLast());
                    break;
                case ABORT_OLDER:
                    abort(pending.removeFirst());
                    break;
                default:
                    parallelism = step == Step.RESCALE ? 3 - parallelism : parallelism;
                    restore();
            }
            verifyFiles(step);
        }

        private void write() throws Exception {
            for (int i = 0; i < CHANGES; i++) {
                int key = random.nextInt(KEYS);
                if (i % 6 == 0) {
                    content.remove(key);
                    of(key).setValue(key, null);
                } else {
                    put(key);
                }
            }
        }

        private void begin() throws Exception {
            Pending begun = new Pending(nextId++, new TreeMap<>(content));
            for (Subtask subtask : subtasks) {
                begun.futures.add(subtask.begin(begun.id, manager.streams(begun.id), Subtask.checkpoint()));
            }
            pending.add(begun);
        }

        private void upload() throws Exception {
            Pending oldest = pending.stream().filter(each -> !each.isUploaded).findFirst().orElseThrow();
            for (RunnableFuture<SnapshotResult<KeyedStateHandle>> future : oldest.futures) {
                future.run();
                oldest.acknowledged.add(future.get().getJobManagerOwnedSnapshot());
            }
            oldest.isUploaded = true;
        }

        private void complete(boolean isHeard) throws Exception {
            Pending oldest = pending.removeFirst();
            manager.complete(oldest.id, oldest.acknowledged, TestJob.empty());
            completed = oldest.content;
            if (isHeard) {
                for (Subtask subtask : subtasks) {
                    subtask.backend.notifyCheckpointComplete(oldest.id);
                }
            }
        }

        private void abort(Pending given) throws Exception {
            if (given.isUploaded) {
                TestJobManager.discard(given.acknowledged);
            } else {
                given.futures.forEach(future -> future.cancel(true));
            }
            for (Subtask subtask : subtasks) {
                subtask.backend.notifyCheckpointAborted(given.id);
            }
        }

        private void restore() throws Exception {
            stop();
            while (!pending.isEmpty()) {
                Pending lost = pending.removeFirst();
                TestJobManager.discard(lost.acknowledged);
            }
            manager.restart();
            content = new TreeMap<>(completed);
            start();
            for (int key = 0; key < KEYS; key++) {
                assertEquals(content.get(key), of(key).read(key).value, name + " key=" + key);
            }
        }

        private void verifyFiles(Step after) throws Exception {
            TreeSet<String> present = manager.present();
            TreeSet<String> referenced = manager.referenced();
            assertTrue(present.containsAll(referenced), () -> name + " after " + after + ": files are missing");
            if (pending.stream().noneMatch(each -> each.isUploaded)) {
                assertEquals(referenced, present, name + " after " + after + ": files are left over");
            }
            hadFiles |= subtasks.stream().anyMatch(Life::isBeyondMemory);
        }

        private static boolean isBeyondMemory(Subtask subtask) {
            java.io.File[] files = subtask.environment.getIOManager().getSpillingDirectories()[0].listFiles((at, name) -> name.startsWith("slimbase-"));
            return files != null && files.length > 0;
        }

        private void stop() throws Exception {
            for (Subtask subtask : subtasks) {
                subtask.close();
            }
            subtasks.clear();
        }

        @Override
        public void close() throws Exception {
            stop();
        }
    }
}
