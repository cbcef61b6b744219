package io.headrace.slimbase.cold;

import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.engine.ColdStore;
import io.headrace.slimbase.engine.KeyGroupSpan;
import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.file.EntryCursor;
import io.headrace.slimbase.file.FileMerge;
import io.headrace.slimbase.file.FileSource;
import io.headrace.slimbase.file.FileSources;
import io.headrace.slimbase.file.LookupBuffers;
import io.headrace.slimbase.file.MergeResult;
import io.headrace.slimbase.file.RecordRuns;
import io.headrace.slimbase.file.SegmentWriter;
import io.headrace.slimbase.file.ValueFilter;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.apache.flink.util.FileUtils;
import org.apache.flink.util.IOUtils;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Packs segments into files of a directory of this machine. The directory is made with the first file and deleted at the end; files are no
 * more durable than memory is, checkpoints have copies of them.
 */
public final class LocalColdStore implements ColdStore {
    private static final Logger LOG = LoggerFactory.getLogger(LocalColdStore.class);
    private static final String HINT = "free space in `io.tmp.dirs`, or raise `taskmanager.memory.managed.size`";
    private static final int BUFFER_BYTES = 1 << 20;
    /** A segment is packed, and a piece of a merge read, in far less. */
    private static final int END_WAIT_S = 30;

    /** Opens a file of a checkpoint. */
    public interface Opening {
        FileSource open() throws IOException;
    }

    private final Path directory;
    private final Supplier<ValueFilter> filters;
    private final LookupBuffers buffers = new LookupBuffers();
    private final ExecutorService packer = background("slimbase-pack");
    private final ExecutorService merger = background("slimbase-merge");
    private volatile boolean closed;

    /**
     * Files will be in this directory, which nobody else uses.
     *
     * @param filters asked on the task thread when a merge begins, for what tells expired values; may give null
     */
    public LocalColdStore(Path directory, Supplier<ValueFilter> filters) {
        this.directory = directory;
        this.filters = filters;
    }

    private static ExecutorService background(String name) {
        return Executors.newSingleThreadExecutor(
                work -> {
                    Thread thread = new Thread(work, name);
                    thread.setDaemon(true);
                    return thread;
                });
    }

    @Override
    public Future<ColdFile> pack(SegmentView segment) {
        return packer.submit(() -> write(segment));
    }

    private ColdFile write(SegmentView segment) {
        Path path = path(segment.number());
        return FileWork.run("segment cannot be packed", path, HINT, () -> {
            Files.createDirectories(directory);
            try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(path), BUFFER_BYTES)) {
                SegmentWriter.of(RecordRuns.of(segment), null).write(segment.number(), out);
            } catch (IOException | RuntimeException e) {
                Files.deleteIfExists(path);
                throw e;
            }
            return open(segment.number(), path, segment.tag());
        });
    }

    private Path path(long number) {
        return directory.resolve(number + ".slim");
    }

    private ColdFile open(long number, Path path, Object tag) throws IOException {
        return PackedFile.open(new LocalPlace(path), number, buffers, new PackedFile.Origin(tag, PackedFile.Origin.ALL));
    }

    /**
     * Opens a file of a restored checkpoint where it lies and copies it to this machine in the background.
     *
     * @param opening opens the checkpoint's file; called from several threads
     * @param number that nothing else of the engine has
     * @param span the key groups that count
     * @throws IOException when the file cannot be opened
     */
    public ColdFile restored(Opening opening, long number, KeyGroupSpan span, Object tag) throws IOException {
        Files.createDirectories(directory);
        RestoredPlace place = new RestoredPlace(opening, path(number));
        ColdFile file = PackedFile.open(place, number, buffers, new PackedFile.Origin(tag, span));
        merger.execute(place::localize);
        return file;
    }

    @Override
    public Future<List<ColdFile>> merge(List<ColdFile> files, boolean oldest, LongSupplier numbers) {
        ValueFilter filter = filters.get();
        return merger.submit(() -> mergeNow(files, oldest, numbers, filter));
    }

    private List<ColdFile> mergeNow(List<ColdFile> files, boolean oldest, LongSupplier numbers, ValueFilter filter) throws IOException {
        List<EntryCursor> cursors = new ArrayList<>();
        try {
            for (ColdFile file : files) {
                cursors.add(((PackedFile) file).scan());
            }
        } catch (IOException | RuntimeException e) {
            IOUtils.closeAllQuietly(cursors);
            throw e;
        }
        MergeResult result =
                new FileMerge(directory, numbers).oldest(oldest).filter(filter).cancelledWhen(() -> closed).merge(cursors);
        List<ColdFile> merged = new ArrayList<>();
        for (MergeResult.Output output : result.outputs()) {
            merged.add(open(output.segmentNumber(), output.path(), null));
        }
        return merged;
    }

    @Override
    public boolean end() {
        closed = true;
        packer.shutdownNow();
        merger.shutdownNow();
        try {
            return packer.awaitTermination(END_WAIT_S, TimeUnit.SECONDS) && merger.awaitTermination(END_WAIT_S, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }

    @Override
    public void close() {
        buffers.close();
        FileUtils.deleteDirectoryQuietly(directory.toFile());
    }

    /** A file of this machine that is ours. */
    private static final class LocalPlace implements PackedFile.Place {
        private final Path path;

        LocalPlace(Path path) {
            this.path = path;
        }

        @Override
        public FileSource open() throws IOException {
            return FileSources.local(path);
        }

        @Override
        public void delete() {
            try {
                Files.deleteIfExists(path);
            } catch (IOException e) {
                LOG.warn("file of state cannot be deleted, path=`{}`", path, e);
            }
        }
    }
}
