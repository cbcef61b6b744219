package io.headrace.slimbase.file;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.locks.LockSupport;

/**
 * Deletes large files of a disk that lookups read from, one by one, and leaves the disk to others for as long as each took. Some file systems tell the disk of each block
 * that is free again, at once or, of some seconds together, when they write their journal: after some gigabytes a read would wait for a second. The figures are in bench/NOTES.md.
 */
public final class SteadyDeletes {
    /** Smaller files are deleted as they come. */
    static final long LARGE_BYTES = 8 << 20;

    private SteadyDeletes() {}

    /** Deletes the file if it is there. After a large one the directory is brought to the disk, and then comes the rest. */
    public static void delete(Path file) throws IOException {
        long from = System.nanoTime();
        boolean isLarge;
        try {
            isLarge = Files.size(file) >= LARGE_BYTES;
            Files.delete(file);
        } catch (NoSuchFileException e) {
            return;
        }
        if (isLarge) {
            sync(file.toAbsolutePath().getParent());
            LockSupport.parkNanos(System.nanoTime() - from);
        }
    }

    private static void sync(Path directory) {
        try (FileChannel names = FileChannel.open(directory, StandardOpenOption.READ)) {
            names.force(true);
        } catch (IOException e) {
            // The file is gone, and only its pace is lost: above all when the thread is told to end.
        }
    }
}
