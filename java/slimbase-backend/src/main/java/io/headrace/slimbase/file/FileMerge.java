package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.SlimBaseException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;
import java.util.function.LongSupplier;
import java.util.stream.Collectors;

/**
 * Merges files into new ones: of each key the newest version, lists joined, what has expired left out.
 *
 * <p>A new file begins with a key group once the one before has 64 MiB. New files have temporary names until all are written and synced; when
 * anything fails, or the merge is cancelled, none is left. Reads and writes pass the rate limiter and ask the cancel flag, piece by piece. Any one thread.
 * Holds per input a piece of 256 KiB and a block; of the output a block, its index, and 8 bytes a key for the filter; and the entries of one key.
 */
public final class FileMerge {
    /** A file is cut at the next key group from here on, as the engine's segments are. */
    static final long TARGET_BYTES = 64 << 20;

    /** Longer lists stay in pieces: joined, they would be copied whole by each merge and be read whole by each lookup. */
    static final int JOIN_LIMIT = 16 << 20;

    private final Path directory;
    private final LongSupplier segmentNumbers;
    private ValueFilter filter;
    private AccessTimes times;
    private RateLimiter limiter;
    private BooleanSupplier cancelled = () -> false;
    private boolean isOldest;
    private long targetBytes = TARGET_BYTES;
    private int joinLimit = JOIN_LIMIT;

    /**
     * Prepares a merge.
     *
     * @param directory of the new files, which must exist; a file is named {@code <segment number>.slim}
     * @param segmentNumbers gives each new file its number
     */
    public FileMerge(Path directory, LongSupplier segmentNumbers) {
        this.directory = directory;
        this.segmentNumbers = segmentNumbers;
    }

    /** Asked for whole values without pieces; what it does not keep becomes a tombstone, or nothing in an oldest merge. May be null. */
    public FileMerge filter(ValueFilter wanted) {
        filter = wanted;
        return this;
    }

    /** New files are to say when their entries were used last; null: they do not. */
    public FileMerge times(AccessTimes wanted) {
        times = wanted;
        return this;
    }

    /** Of what is read and written; may be null. */
    public FileMerge limiter(RateLimiter wanted) {
        limiter = wanted;
        return this;
    }

    /** Asked for each piece; once it says true the merge ends with a {@link CancellationException}. */
    public FileMerge cancelledWhen(BooleanSupplier wanted) {
        cancelled = wanted;
        return this;
    }

    /** Nothing older than the inputs exists anywhere: tombstones are not needed, and a list without its beginning is whole. */
    public FileMerge oldest(boolean wanted) {
        isOldest = wanted;
        return this;
    }

    /** For tests. */
    FileMerge sizes(long fileBytes, int joinBytes) {
        targetBytes = fileBytes;
        joinLimit = joinBytes;
        return this;
    }

    /** Merges without witnesses. */
    public MergeResult merge(List<EntryCursor> oldestFirst) {
        return merge(oldestFirst, List.of());
    }

    /**
     * Merges.
     *
     * @param oldestFirst the inputs, each with its own key groups; they are closed at the end
     * @param witnesses files newer than the inputs, oldest first, which stay: what they supersede is left out. Closed at the end, too
     * @throws SlimBaseException {@code Corrupt} for a damaged input, {@code Unavailable} when reading or writing fails
     * @throws CancellationException when it was cancelled, or the thread interrupted, whose flag stays set
     */
    public MergeResult merge(List<EntryCursor> oldestFirst, List<EntryCursor> witnesses) {
        String inputs = oldestFirst.stream().map(EntryCursor::name).collect(Collectors.joining(", "));
        try (MergedEntries entries = new MergedEntries(oldestFirst, witnesses);
                MergeOutputs outputs = new MergeOutputs(directory, segmentNumbers, this::pass, targetBytes, times);
                PendingKey pending = new PendingKey(inputs)) {
            oldestFirst.forEach(cursor -> cursor.gate(this::pass));
            witnesses.forEach(cursor -> cursor.gate(this::pass));
            long expired = 0;
            while (next(entries, inputs)) {
                if (entries.startsKey()) {
                    expired += write(pending, outputs);
                    pending.begin(entries);
                } else {
                    pending.addPart(entries);
                }
            }
            expired += write(pending, outputs);
            // Before the outputs get their names: what fails here must leave none.
            entries.close();
            List<MergeResult.Output> files = outputs.finish();
            return new MergeResult(files, entries.bytesRead(), entries.entriesRead(), entries.superseded(), expired);
        } catch (IOException e) {
            throw unreadable(inputs, e);
        }
    }

    private static boolean next(MergedEntries entries, String inputs) {
        try {
            return entries.next();
        } catch (IOException e) {
            throw unreadable(inputs, e);
        }
    }

    private static SlimBaseException unreadable(String inputs, IOException cause) {
        return new SlimBaseException(
                SlimBaseException.Kind.Unavailable, "files to merge could not be read, files=`" + inputs + "`", "see the cause", cause);
    }

    private void pass(long bytes) {
        if (cancelled.getAsBoolean()) {
            throw new CancellationException("merge was cancelled");
        }
        if (limiter == null) {
            return;
        }
        try {
            limiter.acquire(bytes);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new CancellationException("merge was interrupted");
        }
    }

    /** Writes what counts of a key; returns how many values have expired. */
    private int write(PendingKey key, MergeOutputs outputs) {
        if (key.isEmpty()) {
            return 0;
        }
        if (key.values() > 1 || !key.hasBase) {
            writeList(key, outputs);
            return 0;
        }
        boolean isExpired = !key.isTombstone && filter != null && !isKept(key);
        if (!key.isTombstone && !isExpired) {
            outputs.add(key, 0, key.value(0), key.valueLength(0));
        } else if (!isOldest) {
            outputs.add(key, FileFormat.ENTRY_TOMBSTONE, key.value(0), 0);
        }
        return isExpired ? 1 : 0;
    }

    private boolean isKept(PendingKey key) {
        return filter.keepEntry(key.identity, key.key(), key.keyLength, key.value(0), key.valueLength(0));
    }

    /** A list of several pieces, or of pieces whose beginning is in an older file. */
    private void writeList(PendingKey key, MergeOutputs outputs) {
        int first = key.hasBase && key.isTombstone ? 1 : 0;
        boolean isWhole = key.hasBase || isOldest;
        if (key.bytes() > joinLimit) {
            if (first == 1 && !isOldest) {
                outputs.add(key, FileFormat.ENTRY_TOMBSTONE, key.value(0), 0);
            }
            for (int i = first; i < key.values(); i++) {
                boolean begins = i == 0 ? isWhole : i == first && isOldest;
                outputs.add(key, begins ? 0 : FileFormat.ENTRY_CHAINED, key.value(i), key.valueLength(i));
            }
            return;
        }
        if (key.values() - first > 1) {
            key.join(first);
        }
        outputs.add(key, isWhole ? 0 : FileFormat.ENTRY_CHAINED, key.value(first), key.valueLength(first));
    }
}
