package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.faults.FileParts;
import io.headrace.slimbase.faults.FileParts.Part;
import io.headrace.slimbase.faults.FilesBelow;
import io.headrace.slimbase.faults.WatchedFileSystem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.flink.util.ExceptionUtils;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/**
 * Files of a running job change under it, each part of each file in turn: packed ones, restored ones where they lie, their copies. Whatever reads them,
 * lookups, walks over keys, merges, copies to a checkpoint, gives what is right or is Corrupt with file and place; a checkpoint with damaged bytes never
 * completes.
 */
class DamagedFilesTest {
    private static final int KEYS = 1_500;
    private static final Pattern PLACE = Pattern.compile("block=|header|no slimbase file|footer|filter|trailer|version|cut off|too short");
    private static final long PATIENCE_NS = TimeUnit.SECONDS.toNanos(60);
    /** In which a merge should have met the newest file; a merge is due each few. */
    private static final int WRITES_A_FILE = 50;

    @TempDir Path folder;

    private final Random random = new Random(20_261_126);
    /** What was damaged last, and where in it. */
    private Part damaged;

    private double share;

    private Path storage;
    private Path local;
    private TestJobManager manager;
    private ScriptedJob job;

    @BeforeEach
    void start() throws Exception {
        storage = Files.createDirectories(folder.resolve("storage"));
        local = folder.resolve("local");
    }

    private void begin(String scheme) throws Exception {
        manager = new TestJobManager(storage, 1, 0, scheme);
        job = new ScriptedJob(manager, local, KEYS, 1);
        job.start(1);
        job.write(1);
    }

    @AfterEach
    void stop() throws Exception {
        WatchedFileSystem.WATCH.end();
        job.close();
    }

    /** Files of state, not what caches ranges of them. */
    private List<Path> packed() throws IOException {
        return FilesBelow.settled(local).stream().filter(file -> file.toString().endsWith(".slim")).collect(Collectors.toList());
    }

    /** Runs what reads: true when it was refused, with file and place; what it gives is checked by itself. */
    private static boolean isRefused(Part part, Executable reading) throws Throwable {
        try {
            reading.execute();
            return false;
        } catch (Exception e) {
            SlimBaseException refusal =
                    ExceptionUtils.findThrowable(e, SlimBaseException.class).orElseThrow(() -> new AssertionError(part.toString(), e));
            boolean mayBeNewer = part.name.equals("header") || part.name.equals("trailer");
            assertTrue(
                    refusal.kind() == SlimBaseException.Kind.Corrupt || mayBeNewer && refusal.kind() == SlimBaseException.Kind.Unsupported,
                    () -> part + ": " + refusal);
            String message = refusal.getMessage();
            assertTrue(message.contains(part.file.getFileName().toString()), () -> part + " is not named: " + message);
            assertTrue(part.isBlock() ? message.contains(part.name + ",") : PLACE.matcher(message).find(), () -> part + " is not named: " + message);
            return true;
        }
    }

    private static List<Part> partsOf(List<Path> files) throws IOException {
        List<Part> parts = new ArrayList<>();
        for (Path file : files) {
            parts.addAll(FileParts.of(file));
        }
        return parts;
    }

    /** Packed files, with any byte of any part flipped, during lookups, a walk over keys and a checkpoint. */
    @Test
    void packedFiles() throws Throwable {
        begin(WatchedFileSystem.NEAR);
        List<Part> parts = partsOf(packed());
        assertTrue(parts.size() > 50, "parts=" + parts.size());
        int refusedLookups = 0;
        int refusedWalks = 0;
        int blocks = 0;
        for (Part part : parts) {
            double share = random.nextDouble();
            part.flip(share);
            refusedLookups += isRefused(part, () -> job.verify("damaged " + part)) ? 1 : 0;
            refusedWalks += isRefused(part, () -> job.walk("damaged " + part)) ? 1 : 0;
            assertTrue(isRefused(part, () -> job.checkpointAlone()), () -> "a checkpoint was completed with a damaged " + part);
            part.flip(share);
            blocks += part.isBlock() ? 1 : 0;
        }
        // Some blocks have nothing but what was written over since, and what is in memory of a file that is open is read no more.
        assertTrue(refusedLookups > blocks / 2, "refused=" + refusedLookups + ", blocks=" + blocks);
        assertTrue(refusedWalks > blocks / 2, "refused=" + refusedWalks + ", blocks=" + blocks);
        job.verify("mended");
        job.walk("mended");
        job.checkpoint(ScriptedJob.Fate.COMPLETES);
        manager.verifyFiles("mended");
        System.out.println("parts of packed files: " + parts.size() + ", refused lookups: " + refusedLookups + ", walks: " + refusedWalks);
    }

    /** Packed files that are cut off anywhere. */
    @Test
    void tornFiles() throws Throwable {
        begin(WatchedFileSystem.NEAR);
        for (Path file : packed()) {
            byte[] whole = Files.readAllBytes(file);
            List<Part> parts = FileParts.of(file);
            for (Part part : List.of(parts.get(0), parts.get(1), parts.get(parts.size() / 2), parts.get(parts.size() - 2), parts.get(parts.size() - 1))) {
                Part torn = part.isBlock() ? parts.get(parts.size() - 1) : part;
                try (var channel = java.nio.channels.FileChannel.open(file, java.nio.file.StandardOpenOption.WRITE)) {
                    channel.truncate(part.from + (part.to - part.from) / 2);
                    isRefused(torn, () -> job.verify("torn " + part));
                    isRefused(torn, () -> job.walk("torn " + part));
                    assertTrue(isRefused(torn, () -> job.checkpointAlone()), () -> "a checkpoint was completed with a torn " + part);
                    channel.write(java.nio.ByteBuffer.wrap(whole), 0);
                }
            }
        }
        job.verify("mended");
    }

    /** A merge that meets a damaged file makes nothing of it; once it is right again merges go on. */
    @Test
    void merges() throws Throwable {
        begin(WatchedFileSystem.NEAR);
        for (String name : List.of("header", "block=0", "filter", "footer", "trailer")) {
            damaged = damageNewest(name);
            long failures = job.gauge("mergeFailures");
            long deadline = System.nanoTime() + PATIENCE_NS;
            for (int writes = 1; job.gauge("mergeFailures") == failures; writes++) {
                assertTrue(System.nanoTime() < deadline, "no merge met " + damaged);
                if (!Files.exists(damaged.file)) {
                    // A merge that had begun before has taken the file as it was.
                    damaged = damageNewest(name);
                } else if (writes % WRITES_A_FILE == 0) {
                    // The newest was what a merge had made, with the lists as they have grown: it is not merged again for long.
                    try {
                        damaged.flip(share);
                    } catch (NoSuchFileException e) {
                        // It has just gone.
                    }
                    damaged = damageNewest(name);
                }
                isRefused(damaged, () -> job.write(1));
            }
            assertTrue(isRefused(damaged, () -> job.checkpointAlone()), () -> "a checkpoint was completed with a damaged " + damaged);
            damaged.flip(share);
            long merged = job.gauge("mergedBytes");
            deadline = System.nanoTime() + PATIENCE_NS;
            while (job.gauge("mergedBytes") == merged) {
                assertTrue(System.nanoTime() < deadline, "no merge after mending " + damaged);
                job.write(1);
            }
            job.verify("mended " + damaged);
            assertTrue(FilesBelow.settled(local).stream().noneMatch(FilesBelow::isUnfinished));
        }
    }

    /** Flips a byte in a part of the newest file: the next merge reads that one. */
    private Part damageNewest(String name) throws Exception {
        share = random.nextDouble();
        while (true) {
            Path newest = Collections.max(packed(), Comparator.comparing(file -> file.toFile().lastModified()));
            try {
                Part part = FileParts.of(newest).stream().filter(each -> each.name.equals(name)).findFirst().orElseThrow();
                part.flip(share);
                return part;
            } catch (NoSuchFileException e) {
                // It was merged away meanwhile; there is a newer one.
            }
        }
    }

    /** Files of a restored checkpoint that are read where they lie, as long as their copy does not come. */
    @Test
    void restoredFilesWhereTheyLie() throws Throwable {
        begin(WatchedFileSystem.NEAR);
        job.checkpoint(ScriptedJob.Fate.COMPLETES);
        WatchedFileSystem.WATCH.begin(
                operation -> {
                    if (operation.path.endsWith(".part")) {
                        throw new IOException("no copies yet");
                    }
                });
        job.start(1);
        int refused = 0;
        List<Part> parts = partsOf(sharedFiles());
        for (Part part : parts) {
            double share = random.nextDouble();
            part.flip(share);
            refused += isRefused(part, () -> job.verify("damaged " + part)) ? 1 : 0;
            refused += isRefused(part, () -> job.walk("damaged " + part)) ? 1 : 0;
            part.flip(share);
        }
        assertTrue(job.gauge("restoredFilesLeft") > 0);
        assertTrue(refused > parts.size(), "refused=" + refused + ", parts=" + parts.size());
        job.verify("mended");
    }

    private List<Path> sharedFiles() throws Exception {
        return FilesBelow.settled(storage).stream().filter(file -> file.getParent().endsWith("shared")).collect(Collectors.toList());
    }

    /** A checkpoint that is damaged before it is restored, on storage far away: refused at once or when it is read, and never right by half. */
    @Test
    void restoredFilesFarAway() throws Throwable {
        begin(WatchedFileSystem.FAR);
        job.checkpoint(ScriptedJob.Fate.COMPLETES);
        int refused = 0;
        List<Part> parts = partsOf(sharedFiles());
        for (int i = 0; i < parts.size(); i += parts.get(i).isBlock() ? 5 : 1) {
            Part part = parts.get(i);
            double share = random.nextDouble();
            part.flip(share);
            refused += isRefused(part, () -> {
                job.start(1 + random.nextInt(2));
                job.verify("damaged " + part);
            }) ? 1 : 0;
            part.flip(share);
        }
        assertTrue(refused > 5, "refused=" + refused);
        job.start(1);
        job.verify("mended");
    }

    /** Copies of restored files: it is the copy that is named, and the checkpoint's own file is used again by the next one. */
    @Test
    void copiesOfRestoredFiles() throws Throwable {
        begin(WatchedFileSystem.FAR);
        job.checkpoint(ScriptedJob.Fate.COMPLETES);
        job.start(1);
        job.awaitCopies(() -> 0);
        int refused = 0;
        List<Part> parts = partsOf(packed());
        for (Part part : parts) {
            double share = random.nextDouble();
            part.flip(share);
            refused += isRefused(part, () -> job.verify("damaged " + part)) ? 1 : 0;
            refused += isRefused(part, () -> job.walk("damaged " + part)) ? 1 : 0;
            part.flip(share);
        }
        assertTrue(refused > parts.size(), "refused=" + refused + ", parts=" + parts.size());
        List<Path> before = sharedFiles();
        for (Part part : parts) {
            part.flip(0.5);
        }
        job.checkpoint(ScriptedJob.Fate.COMPLETES);
        assertTrue(sharedFiles().containsAll(before), "files were not used again");
        job.start(2);
        job.verify("restored again");
        assertEquals(manager.referenced(), manager.present());
    }
}
