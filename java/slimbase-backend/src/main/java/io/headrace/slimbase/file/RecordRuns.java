package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.engine.SlimBaseException;
import java.util.List;
import java.util.function.LongConsumer;

/** Stretches of memory full of sealed records, in the order of the log. */
public final class RecordRuns {
    private final long[] addresses;
    private final long[] bytes;

    /** The arrays are parallel: address and used bytes of each run. */
    public RecordRuns(long[] addresses, long[] bytes) {
        this.addresses = addresses;
        this.bytes = bytes;
    }

    /** The chunks of one sealed segment. */
    public static RecordRuns of(SegmentView view) {
        return of(List.of(view));
    }

    /** The chunks of several sealed segments, oldest first. */
    public static RecordRuns of(List<SegmentView> views) {
        int count = views.stream().mapToInt(SegmentView::chunkCount).sum();
        long[] addresses = new long[count];
        long[] bytes = new long[count];
        int next = 0;
        for (SegmentView view : views) {
            for (int i = 0; i < view.chunkCount(); i++) {
                addresses[next] = view.chunkAddress(i);
                bytes[next++] = view.chunkBytes(i);
            }
        }
        return new RecordRuns(addresses, bytes);
    }

    /** How many runs. */
    public int count() {
        return addresses.length;
    }

    /** Where a run begins. */
    public long address(int index) {
        return addresses[index];
    }

    /** Bytes of records in a run. */
    public long bytes(int index) {
        return bytes[index];
    }

    /** Bytes of all runs. */
    public long totalBytes() {
        long sum = 0;
        for (long each : bytes) {
            sum += each;
        }
        return sum;
    }

    /** Every record that was not superseded within its own epoch. */
    public void forEach(LongConsumer visitor) {
        for (int i = 0; i < addresses.length; i++) {
            long end = addresses[i] + bytes[i];
            long record = addresses[i];
            while (record < end) {
                if (!Record.has(record, Record.DEAD)) {
                    visitor.accept(record);
                }
                record += Record.size(record);
            }
            if (record != end) {
                throw new SlimBaseException(
                        SlimBaseException.Kind.Internal,
                        "records do not end where their chunk does, chunk=" + i + ", beyond_bytes=" + (record - end),
                        "report this with the log",
                        null);
            }
        }
    }
}
