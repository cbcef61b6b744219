package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.faults.FileWatch;
import io.headrace.slimbase.faults.FileWatch.Kind;
import io.headrace.slimbase.faults.WatchedFileSystem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.flink.util.ExceptionUtils;
import org.apache.flink.util.FileUtils;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * One file operation of a job's life fails, and the process lives on: each one in turn, as a disk and a store fail. What throws is restarted from the
 * newest completed checkpoint, as Flink does; what does not goes on. State is right whenever it is read, no file of a completed checkpoint is missing and
 * none is left over, here or there.
 *
 * <p>{@code -Dslimbase.fail.every} is the distance from one to the next: 101 in {@code make test}, 1 in {@code make test-long}.
 */
class FailingOperationsTest {
    private static final int EVERY = Integer.getInteger("slimbase.fail.every", 101);
    private static final int KEYS = 900;
    private static final Set<String> BESIDE = Set.of("slimbase-merge", "slimbase-transfer");
    private static final String INJECTED = "injected failure";

    @TempDir Path folder;

    private TestJobManager manager;
    private ScriptedJob job;
    /** The operation that fails; 0 is none. */
    private int failing;

    private FileWatch.Operation failed;
    private boolean failedInCopy;

    @AfterEach
    void stopWatching() {
        WatchedFileSystem.WATCH.end();
    }

    /** With each kind of tiers. */
    @ParameterizedTest
    @EnumSource(ScriptedJob.Tiers.class)
    void oneOperationFails(ScriptedJob.Tiers tiers) throws Throwable {
        failing = 0;
        live(tiers);
        int operations = WatchedFileSystem.WATCH.operations();
        int restarts = 0;
        int lives = 0;
        for (failing = 1; failing <= operations; failing += EVERY) {
            restarts += live(tiers);
            lives += failed == null ? 0 : 1;
        }
        System.out.println("operations of a life, " + tiers + ": " + operations + ", failed: " + lives + ", restarts: " + restarts);
        assertTrue(lives > 0 && restarts < lives, "restarts=" + restarts + ", lives=" + lives);
    }

    /** A life; gives how often the job was restarted because something threw. */
    private int live(ScriptedJob.Tiers tiers) throws Throwable {
        Path storage = folder.resolve("storage");
        Path local = folder.resolve("local");
        FileUtils.deleteDirectory(storage.toFile());
        manager = new TestJobManager(Files.createDirectories(storage), 1, 0, tiers.scheme);
        failed = null;
        failedInCopy = false;
        int restarts = 0;
        try (ScriptedJob living = new ScriptedJob(tiers.factory, manager, local, KEYS, 1)) {
            job = living;
            WatchedFileSystem.WATCH.begin(this::before);
            List<Executable> steps = job.steps(() -> failedInCopy ? 1 : 0);
            steps.add(() -> job.start(1));
            steps.add(() -> job.verify(failed + ", after the end"));
            for (Executable step : steps) {
                try {
                    step.execute();
                } catch (Exception e) {
                    // What is thrown must be the failure itself, not what was made of it, such as a file that is cut off.
                    if (failed == null || ExceptionUtils.findThrowableWithMessage(e, INJECTED).isEmpty()) {
                        throw e;
                    }
                    // Merges, copies and uploads are done again or given up; the job goes on.
                    assertFalse(BESIDE.contains(failed.thread), () -> "restarted for " + failed);
                    restarts++;
                    job.stop();
                    job.start(2);
                    job.verify("restarted after " + failed);
                }
            }
        } catch (Throwable e) {
            throw new AssertionError("failed operation: " + failed, e);
        }
        TreeSet<String> present = manager.present();
        if (failed != null && failed.kind == Kind.DELETE) {
            present.remove(failed.path);
        }
        assertEquals(manager.referenced(), present, () -> "files after " + failed);
        try (Stream<Path> left = Files.list(local)) {
            assertEquals(List.of(), left.collect(Collectors.toList()), () -> "files of this machine after " + failed);
        }
        return restarts;
    }

    private void before(FileWatch.Operation operation) throws IOException {
        // What the JobManager does is Flink's to get right; a folder is deleted without a word.
        if (operation.number == failing && !job.managerActs() && operation.kind != Kind.DELETE_FOLDER) {
            failed = operation;
            failedInCopy = operation.thread.equals("slimbase-merge");
            throw new IOException(INJECTED + ", operation=" + operation);
        }
    }
}
