package io.headrace.slimbase.faults;

import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.locks.LockSupport;

/** What a folder has while others write and delete there: {@link Files#walk} fails when a file goes while it looks. */
public final class FilesBelow {
    private FilesBelow() {}

    private static final String UNFINISHED = ".tmp";

    /** Ten seconds. */
    private static final int LOOKS = 1_000;
    private static final int SAME_LOOKS = 5;
    private static final long BETWEEN_LOOKS_NANOS = 10_000_000;

    /**
     * All files below the folder once nobody writes there: none is unfinished, and nothing has changed for some looks. Whoever goes on writing, or has left
     * an unfinished file behind, gives what is there after ten seconds.
     */
    public static List<Path> settled(Path folder) throws IOException {
        Map<Path, Long> before = Map.of();
        for (int looks = 0, same = 0; looks < LOOKS && same < SAME_LOOKS; looks++) {
            Map<Path, Long> now = of(folder);
            same = now.equals(before) && now.keySet().stream().noneMatch(FilesBelow::isUnfinished) ? same + 1 : 0;
            before = now;
            LockSupport.parkNanos(BETWEEN_LOOKS_NANOS);
        }
        return List.copyOf(before.keySet());
    }

    /** Whether it has the name of a file that is still being written. */
    public static boolean isUnfinished(Path file) {
        return file.toString().endsWith(UNFINISHED);
    }

    /** All files below the folder, with their lengths in bytes. */
    public static Map<Path, Long> of(Path folder) throws IOException {
        Map<Path, Long> lengths = new TreeMap<>();
        Files.walkFileTree(
                folder,
                new SimpleFileVisitor<>() {
                    @Override
                    public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
                        if (attributes.isRegularFile()) {
                            lengths.put(file, attributes.size());
                        }
                        return FileVisitResult.CONTINUE;
                    }

                    @Override
                    public FileVisitResult visitFileFailed(Path file, IOException e) throws IOException {
                        if (e instanceof NoSuchFileException) {
                            return FileVisitResult.CONTINUE;
                        }
                        throw e;
                    }
                });
        return lengths;
    }
}
