package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.engine.SlimBaseException;
import java.io.IOException;
import java.io.OutputStream;
import java.util.Arrays;

/**
 * Packs the sealed records of one segment into a file.
 *
 * <p>Takes four bytes a record for sorting (a segment is 64 MiB, so 16 MiB at most), and a block; key groups are sorted one by one.
 */
public final class SegmentWriter {
    /** References are in units of 8 bytes over all runs laid end to end. */
    private static final long REFERENCE_LIMIT = (1L << 31) * 8;

    /** Records brought into the cache at once: 32 times one or two lines are a tenth of the first-level cache. */
    private static final int TOUCHED = 32;

    private final RecordRuns runs;
    private final ValueFilter filter;
    private AccessTimes times;
    private final long[] runEnds;
    /** First place of each key group in {@link #references}; one more at the end. */
    private int[] starts;

    private int[] references;
    /** Keeps the compiler from leaving {@link #touch} out. */
    private long touched;

    private SegmentWriter(RecordRuns runs, ValueFilter filter) {
        this.runs = runs;
        this.filter = filter;
        this.runEnds = new long[runs.count()];
        long end = 0;
        for (int i = 0; i < runEnds.length; i++) {
            end += runs.bytes(i);
            runEnds[i] = end;
        }
    }

    /**
     * Looks through the records; nothing is written yet.
     *
     * @param filter asked for whole values only; what it does not keep becomes a tombstone, or nothing when no older version can exist; may be null
     */
    public static SegmentWriter of(RecordRuns runs, ValueFilter filter) {
        if (runs.totalBytes() > REFERENCE_LIMIT) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unsupported,
                    "segment is too large to pack, bytes=" + runs.totalBytes() + ", limit_bytes=" + REFERENCE_LIMIT,
                    "split values of more than a gigabyte over several keys",
                    null);
        }
        SegmentWriter writer = new SegmentWriter(runs, filter);
        writer.collect();
        return writer;
    }

    /** The file is to say when its entries were used last; null: it does not. */
    public SegmentWriter times(AccessTimes wanted) {
        times = wanted;
        return this;
    }

    /** Whether there is nothing to write: all records were superseded within their epoch. */
    public boolean isEmpty() {
        return references.length == 0;
    }

    /** Writes the file; the stream stays open. */
    public FileStatistics write(long segmentNumber, OutputStream out) throws IOException {
        FileBuilder builder = new FileBuilder(out, segmentNumber, references.length, times);
        writeKeyGroups(builder);
        return builder.finish();
    }

    /** A counting sort by key group, which keeps the order of the log. */
    private void collect() {
        int[] counts = new int[FileFormat.KEY_GROUP_LIMIT + 1];
        walk((record, reference) -> counts[Record.keyGroup(record) + 1]++);
        for (int i = 1; i < counts.length; i++) {
            counts[i] += counts[i - 1];
        }
        starts = counts;
        references = new int[counts[counts.length - 1]];
        int[] next = Arrays.copyOf(counts, counts.length);
        walk((record, reference) -> references[next[Record.keyGroup(record)]++] = reference);
    }

    private interface ReferenceVisitor {
        void visit(long record, int reference);
    }

    private void walk(ReferenceVisitor visitor) {
        long before = 0;
        for (int i = 0; i < runs.count(); i++) {
            long start = runs.address(i);
            long end = start + runs.bytes(i);
            for (long record = start; record < end; record += Record.size(record)) {
                if (!Record.has(record, Record.DEAD)) {
                    visitor.visit(record, (int) (before + record - start >>> 3));
                }
            }
            before += runs.bytes(i);
        }
    }

    /** Addresses of a key group's records. Their references ascend, so the run is found by going on from the one before. */
    private void resolve(int first, int count, long[] records) {
        int run = 0;
        long before = 0;
        for (int i = 0; i < count; i++) {
            long place = (references[first + i] & 0xFFFF_FFFFL) << 3;
            while (place >= runEnds[run]) {
                before = runEnds[run++];
            }
            records[i] = runs.address(run) + place - before;
        }
    }

    private void writeKeyGroups(FileBuilder builder) throws IOException {
        KeyGroupSort sort = new KeyGroupSort();
        long[] records = new long[256];
        for (int keyGroup = 0; keyGroup < FileFormat.KEY_GROUP_LIMIT; keyGroup++) {
            int count = starts[keyGroup + 1] - starts[keyGroup];
            if (count == 0) {
                continue;
            }
            records = records.length < count ? new long[Math.max(count, records.length * 2)] : records;
            resolve(starts[keyGroup], count, records);
            int kept = sort.sort(records, count);
            for (int i = 0; i < kept; i++) {
                if (i % TOUCHED == 0) {
                    touch(records, i, Math.min(kept, i + TOUCHED));
                }
                writeRecord(builder, keyGroup, records[i], filter == null || isAlone(records, i, kept));
            }
        }
    }

    private static boolean isAlone(long[] records, int at, int count) {
        return at + 1 == count
                || !Record.has(records[at + 1], Record.CHAINED)
                || !KeyGroupSort.sameKey(records[at], records[at + 1]);
    }

    /** Sorted records lie anywhere in the segment: loads that do not wait for each other bring them into the cache together. */
    private void touch(long[] records, int from, int to) {
        long sum = 0;
        for (int i = from; i < to; i++) {
            sum += Record.flags(records[i]);
        }
        touched += sum;
    }

    private void writeRecord(FileBuilder builder, int keyGroup, long record, boolean alone) throws IOException {
        int header = Record.flags(record);
        boolean tombstone = (header & Record.TOMBSTONE) != 0;
        boolean chained = (header & Record.CHAINED) != 0;
        boolean expired = filter != null && alone && !tombstone && !chained && !filter.keep(record);
        if (expired && (header & Record.HAS_PREV) == 0) {
            return;
        }
        int flags =
                (tombstone || expired ? FileFormat.ENTRY_TOMBSTONE : 0) | (chained ? FileFormat.ENTRY_CHAINED : 0);
        builder.add(
                keyGroup,
                Record.identity(record),
                flags,
                Record.keyAddress(record),
                Record.keyLength(record),
                Record.valueAddress(record),
                expired ? 0 : Record.valueLength(record));
    }
}
