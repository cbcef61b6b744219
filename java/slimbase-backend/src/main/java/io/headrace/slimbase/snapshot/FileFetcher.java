package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.cold.CheckpointFile;
import io.headrace.slimbase.cold.LocalColdStore;
import io.headrace.slimbase.cold.StatedFile;
import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.engine.KeyGroupSpan;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.file.Block;
import io.headrace.slimbase.file.EntryVisitor;
import io.headrace.slimbase.file.FileSource;
import io.headrace.slimbase.file.RangeScan;
import io.headrace.slimbase.file.SegmentReader;
import java.io.IOException;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.state.KeyGroupRange;

/**
 * Reads one file's blocks on a transfer thread, for another thread that applies them. At most {@link #AHEAD} blocks wait, so a file takes
 * 1 MiB however large it is (unless its entries are).
 */
final class FileFetcher implements Callable<Void> {
    static final int AHEAD = 128;

    private final FileReference reference;
    private final KeyGroupRange range;
    private final CheckpointFile file;
    private final CloseableRegistry cancel;
    /** A scan, then blocks, then {@link #END}; or at any time an exception. */
    private final BlockingQueue<Object> items = new ArrayBlockingQueue<>(AHEAD);

    private static final Object END = new Object();

    FileFetcher(FileReference reference, KeyGroupRange range, CheckpointFile file, CloseableRegistry cancel) {
        this.reference = reference;
        this.range = range;
        this.file = file;
        this.cancel = cancel;
    }

    @Override
    public Void call() throws InterruptedException {
        try {
            fetch();
        } catch (InterruptedException e) {
            throw e;
        } catch (Throwable e) {
            // Handed to the thread that applies, which throws it: it would wait for ever otherwise.
            items.put(file.isMissing(e) ? MetaReader.corrupt("file is missing", file.name(), e) : e);
        }
        return null;
    }

    private void fetch() throws IOException, InterruptedException {
        FileSource source = file.open();
        cancel.registerCloseable(source);
        try (SegmentReader reader = SegmentReader.open(source)) {
            check(source.name(), reader.segmentNumber());
            RangeScan scan = reader.scan(range.getStartKeyGroup(), range.getEndKeyGroup());
            items.put(scan);
            for (int block = scan.firstBlock(); block <= scan.lastBlock(); block++) {
                items.put(reader.readBlock(block));
            }
            items.put(END);
        } finally {
            cancel.unregisterCloseable(source);
        }
    }

    private void check(String source, long segmentNumber) {
        if (segmentNumber != reference.segmentNumber()) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Corrupt,
                    "file is another segment's, file=`" + source + "`, segment=" + segmentNumber
                            + ", expected_segment=" + reference.segmentNumber(),
                    "restore an older checkpoint",
                    null);
        }
    }

    /** Opens the file where it lies instead of fetching it. */
    ColdFile openInPlace(LocalColdStore store, long number) throws IOException {
        KeyGroupSpan span = new KeyGroupSpan(range.getStartKeyGroup(), range.getNumberOfKeyGroups());
        try {
            StatedFile stated = new StatedFile(reference.segmentNumber(), reference.bytes(), reference.indexBytes());
            return store.restored(file, number, stated, span, reference.within(range));
        } catch (IOException | SlimBaseException e) {
            if (file.isMissing(e)) {
                throw MetaReader.corrupt("file is missing", file.name(), e);
            }
            throw e;
        }
    }

    /** Applies the file's entries on the calling thread. */
    void drain(EntryVisitor visitor) throws IOException, InterruptedException {
        Object first = take();
        try (RangeScan scan = (RangeScan) first) {
            for (Object item = take(); item != END; item = take()) {
                scan.parse((Block) item, visitor);
            }
            scan.finish();
        }
    }

    private Object take() throws IOException, InterruptedException {
        Object item = items.take();
        if (item instanceof IOException) {
            throw (IOException) item;
        }
        if (item instanceof RuntimeException) {
            throw (RuntimeException) item;
        }
        if (item instanceof Error) {
            throw (Error) item;
        }
        return item;
    }
}
