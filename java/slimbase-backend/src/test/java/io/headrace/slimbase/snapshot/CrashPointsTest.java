package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.faults.FileWatch;
import io.headrace.slimbase.faults.FileWatch.Kind;
import io.headrace.slimbase.faults.WatchedFileSystem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.flink.util.FileUtils;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * A job's process dies at every one of its file operations: of packing, merging, checkpointing, restoring, copying what was restored, of this machine's
 * files and of the checkpoint storage's.
 *
 * <p>The job lives once. Before each operation that changes a file, and between the halves of each write, both folders are copied as they are then, and
 * what the JobManager knows: that is what a process that is killed there leaves behind. From each of these a new job starts, with what the dead one has
 * left lying around. Its state must be the newest completed checkpoint's; no file of that may be missing; and what nothing refers to may only be what the
 * dead process had not yet handed over, or the JobManager was about to delete.
 *
 * <p>{@code -Dslimbase.crash.keys} sets the size of the life. In {@code make test-long} the life is larger, and a job is started from every one of the
 * moments; in {@code make test} from one of each stretch in which the checkpoint storage stayed the same.
 */
class CrashPointsTest {
    /** Enough for files to be merged. */
    private static final int FEW_KEYS = 1_250;

    private static final int KEYS = Integer.getInteger("slimbase.crash.keys", FEW_KEYS);
    private static final boolean STARTS_ALL = KEYS > FEW_KEYS;

    @TempDir Path folder;

    private Path storage;
    private Path local;
    /** Files that a process writes at the moment: their copies are their own, not links. */
    private final Set<String> open = new HashSet<>();
    /** Files of the storage that nothing needs to refer to. */
    private final Set<String> unowned = new HashSet<>();

    private final List<Moment> moments = new ArrayList<>();
    private ScriptedJob.Tiers tiers;
    private TestJobManager manager;
    private ScriptedJob job;

    /** What a process leaves behind that dies at an operation. */
    private static final class Moment {
        final String name;
        final Path copy;
        final TestJobManager manager;
        final Set<String> unowned;

        Moment(String name, Path copy, TestJobManager manager, Set<String> unowned) {
            this.name = name;
            this.copy = copy;
            this.manager = manager;
            this.unowned = unowned;
        }
    }

    @AfterEach
    void stopWatching() {
        WatchedFileSystem.WATCH.end();
    }

    /** With each kind of tiers. */
    @ParameterizedTest
    @EnumSource(ScriptedJob.Tiers.class)
    void diesAtEveryOperation(ScriptedJob.Tiers tiers) throws Exception {
        this.tiers = tiers;
        storage = Files.createDirectories(folder.resolve("storage"));
        local = Files.createDirectories(folder.resolve("local"));
        manager = new TestJobManager(storage, 1, 0, tiers.scheme);
        live();
        assertEveryKind(WatchedFileSystem.WATCH.counts());
        WatchedFileSystem.WATCH.end();
        Set<String> seen = new HashSet<>();
        int started = 0;
        for (int i = 0; i < moments.size(); i++) {
            Moment moment = moments.get(i);
            boolean isNew = seen.add(listing(moment.copy.resolve("storage")) + " " + moment.manager.referenced());
            if (isNew || STARTS_ALL) {
                startFrom(moment, 1 + i % 3);
                started++;
            }
            FileUtils.deleteDirectory(moment.copy.toFile());
        }
        System.out.println("moments to die, " + tiers + ": " + moments.size() + ", with a storage of their own: " + seen.size() + ", started from: " + started);
    }

    private void live() throws Exception {
        try (ScriptedJob living = new ScriptedJob(tiers.factory, manager, local, KEYS, 1)) {
            job = living;
            WatchedFileSystem.WATCH.begin(this::before);
            for (Executable step : job.steps(() -> 0)) {
                step.execute();
            }
        } catch (Throwable e) {
            throw new AssertionError("the job did not live", e);
        }
    }

    /** Whoever does something to files in a job's life does it in this one. */
    private void assertEveryKind(Map<String, Integer> counts) {
        Set<String> expected = new TreeSet<>();
        for (String each : List.of("CREATE", "WRITE", "WRITE_REST", "CLOSE")) {
            expected.addAll(List.of("slimbase-pack " + each, "slimbase-merge " + each, "slimbase-transfer " + each));
        }
        expected.addAll(List.of("slimbase-merge SYNC", "slimbase-transfer SYNC", "slimbase-merge RENAME", "main DELETE", "main DELETE_FOLDER", "slimbase-merge READ"));
        expected.add(tiers != ScriptedJob.Tiers.NEAR ? "slimbase-restore READ" : "slimbase-restore OPEN");
        expected.removeAll(counts.keySet());
        assertEquals(Set.of(), expected, () -> "what did not happen, of " + counts);
    }

    /** Runs with all other file operations waiting. */
    private void before(FileWatch.Operation operation) throws IOException {
        if (!operation.kind.isChange()) {
            return;
        }
        boolean isStored = operation.path.startsWith(storage.toString());
        try {
            Path copy = Files.createDirectories(folder.resolve("moments").resolve(Integer.toString(operation.number)));
            copy(storage, copy.resolve("storage"));
            copy(local, copy.resolve("local"));
            TestJobManager knows = manager.successor();
            Set<String> mayBeLeft = new HashSet<>(unowned);
            if (job.managerActs()) {
                // It deletes what the checkpoint before had alone, one file after the other.
                mayBeLeft.addAll(manager.present());
            }
            moments.add(new Moment(operation.toString(), copy, knows, mayBeLeft));
        } catch (Exception e) {
            throw new AssertionError("moment cannot be kept, operation=" + operation, e);
        }
        if (operation.kind == Kind.CREATE) {
            open.add(operation.path);
            if (isStored) {
                unowned.add(operation.path);
            }
        } else if (operation.kind == Kind.CLOSE) {
            open.remove(operation.path);
        }
        unowned.removeAll(manager.referenced());
    }

    private void copy(Path from, Path to) throws IOException {
        try (Stream<Path> all = Files.walk(from)) {
            for (Path each : (Iterable<Path>) all::iterator) {
                Path there = to.resolve(from.relativize(each).toString());
                if (Files.isDirectory(each)) {
                    Files.createDirectories(there);
                } else if (each.endsWith("restored.ranges")) {
                    // Sparse, and of no process but the one that wrote it.
                    Files.createFile(there);
                } else if (open.contains(each.toString())) {
                    Files.copy(each, there);
                } else {
                    Files.createLink(there, each);
                }
            }
        } catch (NoSuchFileException e) {
            throw new AssertionError("file went while it was copied", e);
        }
    }

    private static TreeMap<String, Long> listing(Path folder) throws IOException {
        try (Stream<Path> files = Files.walk(folder)) {
            return files.filter(Files::isRegularFile)
                    .collect(Collectors.toMap(file -> folder.relativize(file).toString(), file -> file.toFile().length(), (a, b) -> a, TreeMap::new));
        }
    }

    private void startFrom(Moment moment, int parallelism) throws Exception {
        FileUtils.deleteDirectory(storage.toFile());
        FileUtils.deleteDirectory(local.toFile());
        Files.move(moment.copy.resolve("storage"), storage);
        Files.move(moment.copy.resolve("local"), local);
        TreeSet<String> present = moment.manager.present();
        TreeSet<String> referenced = moment.manager.referenced();
        assertTrue(present.containsAll(referenced), () -> moment.name + ": files are missing");
        TreeSet<String> left = new TreeSet<>(present);
        left.removeAll(referenced);
        TreeSet<String> orphans = new TreeSet<>(left);
        orphans.removeAll(moment.unowned);
        assertEquals(Set.of(), orphans, moment.name + ": files that nobody refers to");
        TreeMap<String, Long> lying = listing(local);
        try (ScriptedJob next = new ScriptedJob(tiers.factory, moment.manager, local, KEYS, 1000)) {
            next.start(parallelism);
            next.verify(moment.name + ", restored with " + parallelism);
            next.checkpoint(ScriptedJob.Fate.COMPLETES);
            TreeSet<String> expected = moment.manager.referenced();
            expected.addAll(left);
            assertEquals(expected, moment.manager.present(), moment.name + ": files after the next checkpoint");
        }
        assertEquals(lying, listing(local), moment.name + ": files of this machine after the next job");
    }
}
