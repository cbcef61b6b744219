package io.headrace.slimbase.cold;

import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.engine.ColdStore;
import io.headrace.slimbase.engine.KeyGroupSpan;
import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.file.AccessTimes;
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
import io.headrace.slimbase.file.SteadyDeletes;
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
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongSupplier;
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
    /**
     * A restored file that could not be copied is copied after a second, then after two, and so on: what is wrong with a store or a disk is over soon or
     * takes minutes, and a damaged file stays so.
     */
    private static final int COPY_AGAIN_S = 1;

    private static final int COPY_AGAIN_S_MAX = 256;
    /**
     * Disk that ranges of restored files take until the files are copied: 256 extents, so that the footers of a hundred files and the blocks in use stay. It is
     * little beside the files, whose copies the same disk has to hold.
     */
    private static final long RANGES_BYTES = 256L * ExtentCache.EXTENT_BYTES;

    private static final long TELL_AGAIN_NS = TimeUnit.MINUTES.toNanos(1);

    /** The first lookups open what they need themselves, and have the disk alone for so long. */
    private static final int OPEN_AHEAD_MS = 500;

    /** Reads of a disk, or of a store far away, under way at once. */
    private static final int OPENERS = 8;

    private static final int OPENER_IDLE_S = 5;

    private final Path directory;
    private final Expiry expiry;
    /** Disk for ranges of files that stay in the checkpoint storage; 0 when all are to be on this machine. */
    private final long cacheBytes;

    private final LookupBuffers buffers = new LookupBuffers();
    private final ExecutorService packer = background("slimbase-pack");
    private final ScheduledExecutorService merger = background("slimbase-merge");
    /** Files are deleted beside the task: giving a large file's blocks back takes a busy disk's journal up to seconds. */
    private final ExecutorService deleter = background("slimbase-delete");
    /** Opens the files of a restored key group side by side when its first key is looked up; its threads come with the first file and go soon after the last. */
    private final ExecutorService opener = openers();
    private final MergeLimiter limiter;
    private final AtomicInteger restoredLeft = new AtomicInteger();
    private ExtentCache ranges;
    private volatile boolean closed;
    /** When a merge that failed was told of; 0 at first. The merging thread's. */
    private long mergeToldAt;

    /**
     * Files will be in this directory, which nobody else uses.
     *
     * @param expiry asked on the task thread
     * @param cacheBytes 0: all files are on this machine; otherwise files that a completed checkpoint has are read from there, through a cache of this
     *     size on this machine where the storage is another's
     */
    public LocalColdStore(Path directory, Expiry expiry, long cacheBytes) {
        this.directory = directory;
        this.expiry = expiry;
        this.cacheBytes = cacheBytes;
        this.limiter = MergeLimiter.of(directory);
    }

    private static ScheduledExecutorService background(String name) {
        return Executors.newSingleThreadScheduledExecutor(work -> daemon(name, work));
    }

    private static ExecutorService openers() {
        ThreadPoolExecutor threads =
                new ThreadPoolExecutor(
                        OPENERS, OPENERS, OPENER_IDLE_S, TimeUnit.SECONDS, new LinkedBlockingQueue<>(), work -> daemon("slimbase-open", work));
        threads.allowCoreThreadTimeOut(true);
        return threads;
    }

    private static Thread daemon(String name, Runnable work) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        return thread;
    }

    @Override
    public Future<ColdFile> pack(SegmentView segment) {
        AccessTimes times = expiry.accessTimes();
        return packer.submit(() -> write(segment, times));
    }

    private ColdFile write(SegmentView segment, AccessTimes times) {
        Path path = path(segment.number());
        return FileWork.run("segment cannot be packed", path, HINT, () -> {
            Files.createDirectories(directory);
            try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(path), BUFFER_BYTES)) {
                SegmentWriter.of(RecordRuns.of(segment), null).times(times).write(segment.number(), out);
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

    /** Whether files that a completed checkpoint has are not kept here. */
    public boolean leavesFilesInCheckpoints() {
        return cacheBytes > 0;
    }

    /** Reads a file from its checkpoint from now on, and deletes it here; false when it stays for now. Task thread. */
    public boolean leaveInCheckpoint(ColdFile file, CheckpointFile stored) {
        try {
            PackedFile moved = (PackedFile) file;
            moved.moveTo(placeOf(stored, file.number()));
            merger.execute(moved::openAhead);
            return true;
        } catch (IOException e) {
            LOG.warn("cache of files in checkpoints cannot be made, file stays where it is until the next one, directory=`{}`", directory, e);
            return false;
        }
    }

    private RestoredPlace placeOf(CheckpointFile stored, long number) throws IOException {
        Files.createDirectories(directory);
        return new RestoredPlace(stored, path(number), stored.isFar() ? rangesOf(stored) : null, this::deleteSoon);
    }

    /**
     * Opens a file of a restored checkpoint where it lies and, unless files stay there, copies it to this machine in the background. Any thread.
     *
     * @param number that nothing else of the engine has
     * @param stated what the file must be
     * @param span the key groups that count
     * @throws IOException when the file has to be asked what its index takes, and cannot be
     */
    public ColdFile restored(CheckpointFile stored, long number, StatedFile stated, KeyGroupSpan span, Object tag) throws IOException {
        RestoredPlace place = placeOf(stored, number);
        PackedFile file = PackedFile.openLater(place, number, buffers, new PackedFile.Origin(tag, span), stated, opener);
        merger.schedule(file::openAhead, OPEN_AHEAD_MS, TimeUnit.MILLISECONDS);
        if (!leavesFilesInCheckpoints()) {
            restoredLeft.incrementAndGet();
            merger.execute(() -> localize(place, COPY_AGAIN_S));
        }
        return file;
    }

    /** Until it is copied the job needs the checkpoint, which may go: after an outage the copy is made up for. */
    private void localize(RestoredPlace place, int againS) {
        if (place.localize()) {
            restoredLeft.decrementAndGet();
        } else if (!closed) {
            merger.schedule(() -> localize(place, Math.min(againS * 2, COPY_AGAIN_S_MAX)), againS, TimeUnit.SECONDS);
        }
    }

    private synchronized CachedSource rangesOf(CheckpointFile stored) throws IOException {
        if (ranges == null) {
            ranges = new ExtentCache(directory.resolve("restored.ranges"), Math.max(RANGES_BYTES, cacheBytes));
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
    public Future<List<ColdFile>> merge(List<ColdFile> files, List<ColdFile> witnesses, boolean oldest, LongSupplier numbers) {
        ValueFilter filter = expiry.filter();
        FileMerge merge =
                new FileMerge(directory, numbers).oldest(oldest).filter(filter).times(expiry.accessTimes()).limiter(limiter.limiter()).cancelledWhen(() -> closed);
        return merger.submit(
                () -> {
                    try {
                        return mergeNow(files, witnesses, merge);
                    } catch (IOException | SlimBaseException e) {
                        tellOfMerge(e);
                        throw e;
                    }
                });
    }

    @Override
    public void mergeRate(double bytesPerS) {
        limiter.want(this, bytesPerS);
    }

    /** How fast files of the disk may be merged, read and written, by all backends of the process together: bytes a second, 0 without limit. */
    public double mergeLimitBytesPerS() {
        return limiter.bytesPerS();
    }

    @Override
    public boolean hasExpired(ColdFile file) {
        return ((PackedFile) file).hasExpired(expiry);
    }

    private List<ColdFile> mergeNow(List<ColdFile> files, List<ColdFile> witnesses, FileMerge merge) throws IOException {
        List<EntryCursor> inputs = new ArrayList<>();
        List<EntryCursor> others = new ArrayList<>();
        try {
            for (ColdFile file : files) {
                inputs.add(((PackedFile) file).scan());
            }
            for (ColdFile file : witnesses) {
                others.add(((PackedFile) file).scan());
            }
        } catch (IOException | RuntimeException e) {
            IOUtils.closeAllQuietly(inputs);
            IOUtils.closeAllQuietly(others);
            throw e;
        }
        MergeResult result = merge.merge(inputs, others);
        List<ColdFile> merged = new ArrayList<>();
        for (MergeResult.Output output : result.outputs()) {
            merged.add(PackedFile.merged(new LocalPlace(output.path()), output, buffers, opener));
        }
        return merged;
    }

    /** Nothing is lost by it, and the job goes on; but where a file is damaged the first lookup that needs it will end the job. */
    private void tellOfMerge(Exception e) {
        long now = System.nanoTime();
        if (!closed && (mergeToldAt == 0 || now - mergeToldAt > TELL_AGAIN_NS)) {
            mergeToldAt = now;
            LOG.warn("files of state cannot be merged, they stay as they are and are tried again; told once a minute, directory=`{}`", directory, e);
        }
    }

    /** Beside the task. */
    private void deleteSoon(Path file) {
        try {
            deleter.execute(() -> deleteNow(file));
        } catch (RejectedExecutionException e) {
            // The store is at its end, and the whole folder goes.
        }
    }

    private static void deleteNow(Path file) {
        try {
            SteadyDeletes.delete(file);
        } catch (IOException e) {
            LOG.warn("file of state cannot be deleted, path=`{}`", file, e);
        }
    }

    @Override
    public boolean end() {
        closed = true;
        limiter.want(this, 0);
        packer.shutdownNow();
        merger.shutdownNow();
        deleter.shutdownNow();
        opener.shutdownNow();
        try {
            return opener.awaitTermination(END_WAIT_S, TimeUnit.SECONDS)
                    && packer.awaitTermination(END_WAIT_S, TimeUnit.SECONDS)
                    && merger.awaitTermination(END_WAIT_S, TimeUnit.SECONDS)
                    && deleter.awaitTermination(END_WAIT_S, TimeUnit.SECONDS);
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
    private final class LocalPlace implements PackedFile.Place {
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
            deleteSoon(path);
        }
    }
}
