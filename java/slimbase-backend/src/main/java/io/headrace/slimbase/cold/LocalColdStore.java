package io.headrace.slimbase.cold;

import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.engine.ColdStore;
import io.headrace.slimbase.engine.KeyGroupSpan;
import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.file.CachedSource;
import io.headrace.slimbase.file.EntryCursor;
import io.headrace.slimbase.file.ExtentCache;
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
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
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
    /** A restored file that could not be copied is copied after this long: the store or the disk may have recovered. */
    private static final int COPY_AGAIN_S = 10;
    /**
     * Disk that ranges of restored files take until the files are copied: 256 extents, so that the footers of a hundred files and the blocks in use stay. It is
     * little beside the files, whose copies the same disk has to hold.
     */
    private static final long RANGES_BYTES = 256L * ExtentCache.EXTENT_BYTES;

    private final Path directory;
    private final Supplier<ValueFilter> filters;
    private final LookupBuffers buffers = new LookupBuffers();
    private final ExecutorService packer = background("slimbase-pack");
    private final ScheduledExecutorService merger = background("slimbase-merge");
    private final AtomicInteger restoredLeft = new AtomicInteger();
    private ExtentCache ranges;
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

    private static ScheduledExecutorService background(String name) {
        return Executors.newSingleThreadScheduledExecutor(
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
     * Opens a file of a restored checkpoint where it lies and copies it to this machine in the background. Any thread.
     *
     * @param number that nothing else of the engine has
     * @param span the key groups that count
     * @throws IOException when the file cannot be opened
     */
    public ColdFile restored(CheckpointFile stored, long number, KeyGroupSpan span, Object tag) throws IOException {
        Files.createDirectories(directory);
        RestoredPlace place = new RestoredPlace(stored, path(number), stored.isFar() ? rangesOf(stored) : null);
        ColdFile file = PackedFile.open(place, number, buffers, new PackedFile.Origin(tag, span));
        restoredLeft.incrementAndGet();
        merger.execute(() -> localize(place));
        return file;
    }

    /** Until it is copied the job needs the checkpoint, which may go: after an outage the copy is made up for. */
    private void localize(RestoredPlace place) {
        if (place.localize()) {
            restoredLeft.decrementAndGet();
        } else if (!closed) {
            merger.schedule(() -> localize(place), COPY_AGAIN_S, TimeUnit.SECONDS);
        }
    }

    private synchronized CachedSource rangesOf(CheckpointFile stored) throws IOException {
        if (ranges == null) {
            ranges = new ExtentCache(directory.resolve("restored.ranges"), RANGES_BYTES);
        }
        return new CachedSource(stored.name(), stored.bytes(), stored.opening(), ranges, TimeUnit.NANOSECONDS::sleep);
    }

    /** Restored files that are still read from their checkpoint. */
    public int restoredFilesLeft() {
        return restoredLeft.get();
    }

    /** How often ranges of restored files were fetched from a distributed file system. */
    public synchronized long rangeFetches() {
        return ranges == null ? 0 : ranges.fetches();
    }

    /** Bytes of these ranges. */
    public synchronized long rangeFetchedBytes() {
        return ranges == null ? 0 : ranges.fetchedBytes();
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
        synchronized (this) {
            IOUtils.closeQuietly(ranges);
        }
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
