package io.headrace.statebench;

import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;

/** Bytes of the files below a folder from which files may go meanwhile: what is gone when it is looked at does not count. */
public final class FolderBytes extends SimpleFileVisitor<Path> {

    private final Path without;
    private long bytes;

    private FolderBytes(Path without) {
        this.without = without;
    }

    /** Of all files. */
    public static long of(Path folder) throws IOException {
        return without(folder, null);
    }

    /** Of all files but those below another folder. */
    public static long without(Path folder, Path without) throws IOException {
        FolderBytes visitor = new FolderBytes(without);
        Files.walkFileTree(folder, visitor);
        return visitor.bytes;
    }

    @Override
    public FileVisitResult preVisitDirectory(Path directory, BasicFileAttributes attributes) {
        return directory.equals(without) ? FileVisitResult.SKIP_SUBTREE : FileVisitResult.CONTINUE;
    }

    @Override
    public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
        bytes += attributes.isRegularFile() ? attributes.size() : 0;
        return FileVisitResult.CONTINUE;
    }

    @Override
    public FileVisitResult visitFileFailed(Path file, IOException e) throws IOException {
        if (Files.notExists(file)) {
            return FileVisitResult.CONTINUE;
        }
        throw e;
    }
}
