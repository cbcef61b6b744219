package io.headrace.slimbase.faults;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Assumptions;

/** A file system of a few MiB in memory, mounted in a folder, that can be filled up and made read-only. */
public final class SmallDisk implements AutoCloseable {
    private static final int WAIT_S = 20;
    private static final long BETWEEN_TRIES_NANOS = 10_000_000;
    private static final int PIECE_BYTES = 64 << 10;

    private final Path folder;
    private final Path filler;

    private SmallDisk(Path folder) {
        this.folder = folder;
        this.filler = folder.resolve("filler");
    }

    /** Mounts one; the test is skipped, with the reason, where that is not allowed. */
    public static SmallDisk mount(Path folder, long bytes) throws Exception {
        Files.createDirectories(folder);
        String said = run("mount", "-t", "tmpfs", "-o", "size=" + bytes, "slimbase-test", folder.toString());
        Assumptions.assumeTrue(said.isEmpty(), () -> "no file system can be mounted here, root's rights are needed, cause=`" + said + "`");
        return new SmallDisk(folder);
    }

    /** What a command says when it fails; nothing when it does not. */
    private static String run(String... command) throws IOException, InterruptedException {
        Process process;
        try {
            process = new ProcessBuilder(command).redirectErrorStream(true).start();
        } catch (IOException e) {
            return e.getMessage();
        }
        String said = new String(process.getInputStream().readAllBytes());
        if (!process.waitFor(WAIT_S, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            return String.join(" ", command) + " does not end";
        }
        return process.exitValue() == 0 ? "" : said + " exit=" + process.exitValue();
    }

    private static void requireNothing(String said, String... command) {
        if (!said.isEmpty()) {
            throw new AssertionError(String.join(" ", command) + ": " + said);
        }
    }

    public Path folder() {
        return folder;
    }

    /** Fills it up but for so many bytes, or gives some back when fewer are free. */
    public void leave(long bytes) throws IOException {
        long free = Files.getFileStore(folder).getUsableSpace();
        long size = Files.exists(filler) ? Files.size(filler) : 0;
        long wanted = Math.max(0, size + free - bytes);
        if (wanted < size) {
            try (var channel = java.nio.channels.FileChannel.open(filler, java.nio.file.StandardOpenOption.WRITE)) {
                channel.truncate(wanted);
            }
            return;
        }
        try (var out = Files.newOutputStream(filler, java.nio.file.StandardOpenOption.CREATE, java.nio.file.StandardOpenOption.APPEND)) {
            for (long left = wanted - size; left > 0; left -= PIECE_BYTES) {
                out.write(new byte[(int) Math.min(left, PIECE_BYTES)]);
            }
        } catch (IOException e) {
            // Others write, too: it is as full as it can be.
            if (Files.getFileStore(folder).getUsableSpace() > bytes) {
                throw e;
            }
        }
    }

    /** All of its room is there again. */
    public void empty() throws IOException {
        Files.deleteIfExists(filler);
    }

    /** Takes no more writes, or does again. While somebody has a file open for writing the kernel refuses that, so it is asked until nobody has. */
    public void readOnly(boolean wanted) throws IOException, InterruptedException {
        String[] command = {"mount", "-o", "remount," + (wanted ? "ro" : "rw"), folder.toString()};
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(WAIT_S);
        String said = run(command);
        while (said.contains("busy") && System.nanoTime() < end) {
            LockSupport.parkNanos(BETWEEN_TRIES_NANOS);
            said = run(command);
        }
        requireNothing(said, command);
    }

    /** What is in it, the filler left out. */
    public List<Path> files() throws IOException {
        return withoutFiller(FilesBelow.of(folder).keySet());
    }

    /** The same once nobody writes there, see {@link FilesBelow#settled}. */
    public List<Path> settled() throws IOException {
        return withoutFiller(FilesBelow.settled(folder));
    }

    private List<Path> withoutFiller(Collection<Path> found) {
        List<Path> files = new ArrayList<>(found);
        files.remove(filler);
        return files;
    }

    @Override
    public void close() throws Exception {
        String said = run("umount", folder.toString());
        if (!said.isEmpty()) {
            // What a failed test still has open; the file system goes with it.
            String[] command = {"umount", "-l", folder.toString()};
            requireNothing(run(command), command);
        }
    }
}
