package io.headrace.slimbase.snapshot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.faults.FileParts;
import io.headrace.slimbase.faults.FilesBelow;
import io.headrace.slimbase.faults.SmallDisk;
import io.headrace.slimbase.faults.WatchedFileSystem;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.flink.util.ExceptionUtils;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A disk that is really full, or read-only, while segments are packed, files merged, checkpoints written, restored files copied: one clear error at
 * most, nothing half written stays, the last checkpoint is kept, and when there is room again the same job goes on.
 */
class FullDiskTest {
    private static final int KEYS = 900;
    private static final long DISK_BYTES = 24 << 20;
    /** Less than a packed segment. */
    private static final long HARDLY_ANY_BYTES = 96 << 10;
    /** Room for two packed segments, and not for a merge of six. */
    private static final long SOME_BYTES = 640 << 10;

    private static final int ROUNDS = 40;
    /** So many that a merge has megabytes to write: what is dead needs no room. */
    private static final int MERGED_KEYS = 6_000;

    private static final int PARTS = 400;

    @TempDir Path folder;

    private SmallDisk disk;
    private TestJobManager manager;
    private ScriptedJob job;

    /** A job with its files on the small disk, or its checkpoints. */
    private void start(boolean isCheckpointDisk) throws Exception {
        start(isCheckpointDisk, KEYS);
    }

    private void start(boolean isCheckpointDisk, int keys) throws Exception {
        disk = SmallDisk.mount(folder.resolve("disk"), DISK_BYTES);
        Path other = Files.createDirectories(folder.resolve("other"));
        manager = new TestJobManager(isCheckpointDisk ? disk.folder() : other, 1, 0, WatchedFileSystem.NEAR);
        job = new ScriptedJob(manager, isCheckpointDisk ? other : disk.folder().resolve("local"), keys, 1);
        job.start(1);
        job.write(1);
        job.write(1);
        job.checkpoint(ScriptedJob.Fate.COMPLETES);
    }

    @AfterEach
    void stop() throws Exception {
        if (job != null) {
            job.close();
        }
        if (disk != null) {
            disk.close();
        }
    }

    /** Writes until something refuses, and gives what. */
    private SlimBaseException refusalOfWrites() {
        Throwable thrown =
                catchThrowable(
                        () -> {
                            for (int i = 0; i < ROUNDS; i++) {
                                job.write(1);
                            }
                        });
        return ExceptionUtils.findThrowable(thrown, SlimBaseException.class).orElseThrow(() -> new AssertionError("no refusal, but " + thrown));
    }

    /** Writes some; a segment that finds no room, since a merge has it, is refused, and gets room. */
    private void writeOrBeRefused() throws Exception {
        try {
            job.write(30);
        } catch (Exception e) {
            if (ExceptionUtils.findThrowable(e, SlimBaseException.class).filter(each -> each.kind() == SlimBaseException.Kind.Unavailable).isEmpty()) {
                throw e;
            }
            disk.empty();
        }
    }

    private void assertGoesOn() throws Exception {
        job.write(1);
        job.write(1);
        job.verify("goes on");
        job.checkpoint(ScriptedJob.Fate.COMPLETES);
        job.start(2);
        job.verify("restored");
        assertThat(manager.present()).containsAll(manager.referenced());
    }

    /** Packing into a full disk is one error that names file, cause and settings; nothing is lost, and it goes on without a restart. */
    @Test
    void packing() throws Exception {
        start(false);
        for (int times = 0; times < 2; times++) {
            disk.leave(HARDLY_ANY_BYTES);
            SlimBaseException refusal = refusalOfWrites();
            assertThat(refusal.kind()).isEqualTo(SlimBaseException.Kind.Unavailable);
            assertThat(refusal.getMessage())
                    .contains("segment cannot be packed")
                    .contains(disk.folder().toString())
                    .contains("No space left on device")
                    .contains("io.tmp.dirs");
            job.verify("full");
            assertWhole();
            disk.empty();
            job.write(1);
            job.verify("goes on");
        }
        assertGoesOn();
    }

    /** What is there can be read, and nothing has another name than a file that is whole, once a merge that is under way has ended. */
    private void assertWhole() throws Exception {
        List<Path> files = disk.settled();
        assertThat(files).allMatch(file -> file.toString().endsWith(".slim"));
        for (Path file : files) {
            assertThat(FileParts.of(file)).hasSizeGreaterThan(4);
        }
    }

    /** A merge that has no room gives its files up and is made up for later; nobody is told but the counter, since everything is as before. */
    @Test
    void merging() throws Exception {
        start(false, MERGED_KEYS);
        long failures = job.gauge("mergeFailures");
        for (int part = 0; part < PARTS && job.gauge("mergeFailures") == failures; part++) {
            disk.leave(SOME_BYTES);
            writeOrBeRefused();
        }
        assertThat(job.gauge("mergeFailures")).isGreaterThan(failures);
        job.verify("full");
        assertThat(disk.settled()).noneMatch(FilesBelow::isUnfinished);
        disk.empty();
        long merged = job.gauge("mergedBytes");
        for (int i = 0; i < ROUNDS && job.gauge("mergedBytes") == merged; i++) {
            job.write(1);
        }
        assertThat(job.gauge("mergedBytes")).isGreaterThan(merged);
        assertGoesOn();
    }

    /** A checkpoint that has no room fails, deletes what it has written, leaves the one before as it is; the job writes on, and the next one completes. */
    @Test
    void checkpoint() throws Exception {
        start(true);
        List<Path> before = disk.settled();
        job.write(1);
        disk.leave(SOME_BYTES);
        assertThat(catchThrowable(job::checkpointAlone)).hasStackTraceContaining("No space left on device");
        assertThat(disk.settled()).containsExactlyInAnyOrderElementsOf(before);
        job.write(1);
        job.verify("full");
        job.start(2);
        job.verify("restored from the last checkpoint, full");
        job.write(1);
        disk.empty();
        assertGoesOn();
    }

    /** Restored files for whose copies there is no room are read where they lie; the copies come when there is. */
    @Test
    void copies() throws Exception {
        start(false);
        disk.leave(HARDLY_ANY_BYTES);
        job.stop();
        disk.leave(HARDLY_ANY_BYTES);
        job.start(1);
        job.verify("restored, full");
        assertThat(job.gauge("restoredFilesLeft")).isPositive();
        disk.empty();
        job.awaitCopies(() -> 0);
        job.verify("copied");
        assertGoesOn();
    }

    /** A disk that becomes read-only refuses as a full one does, and is taken again when it takes writes. */
    @Test
    void readOnly() throws Exception {
        start(false);
        disk.readOnly(true);
        SlimBaseException refusal = refusalOfWrites();
        assertThat(refusal.kind()).isEqualTo(SlimBaseException.Kind.Unavailable);
        assertThat(refusal.getMessage()).contains("segment cannot be packed").contains("Read-only file system").contains(disk.folder().toString());
        job.verify("read-only");
        disk.readOnly(false);
        assertGoesOn();
    }

    /** Read-only checkpoint storage: the checkpoint fails, the one before is kept. */
    @Test
    void readOnlyCheckpoints() throws Exception {
        start(true);
        List<Path> before = disk.settled();
        job.write(1);
        Files.createDirectories(disk.folder().resolve("chk-" + job.nextCheckpoint()));
        disk.readOnly(true);
        assertThat(catchThrowable(job::checkpointAlone)).hasStackTraceContaining("Read-only file system");
        job.write(1);
        disk.readOnly(false);
        assertThat(disk.settled()).containsExactlyInAnyOrderElementsOf(before);
        job.verify("read-only");
        assertGoesOn();
    }
}
