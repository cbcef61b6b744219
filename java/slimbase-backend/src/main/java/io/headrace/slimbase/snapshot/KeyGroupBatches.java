package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.KeyHash;
import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.file.KeyGroupSort;
import io.headrace.slimbase.file.RecordRuns;
import java.util.Arrays;
import java.util.List;
import org.apache.flink.runtime.state.KeyGroupRange;

/**
 * All sealed records by key group, in the order of the files, only the newest versions. Key groups are collected in batches of at most
 * {@link #BATCH_RECORDS} records (or one key group), each with one walk over the log.
 */
final class KeyGroupBatches implements AutoCloseable {
    /** 16 MiB of addresses. */
    static final int BATCH_RECORDS = 2 << 20;

    private final RecordRuns runs;
    private final ColdRecords cold;
    private final KeyGroupRange range;
    private final KeyGroupSort sort = new KeyGroupSort();
    /** Records of each key group of the range. */
    private final int[] counts;

    private int batchFirst;
    private int batchLast = -1;
    /** First place of each of the batch's key groups; one more at the end. */
    private int[] starts;

    private long[] batch = new long[0];
    private long[] records = new long[0];
    private int recordCount;

    KeyGroupBatches(List<SegmentView> views, KeyGroupRange range) {
        this.runs = RecordRuns.of(views);
        this.cold = new ColdRecords(views);
        this.range = range;
        this.counts = new int[range.getNumberOfKeyGroups()];
        runs.forEach(record -> counts[Record.keyGroup(record) - range.getStartKeyGroup()]++);
    }

    KeyGroupRange range() {
        return range;
    }

    /** Makes the key group's records the current ones. Key groups are asked for in ascending order. */
    void load(int keyGroup) {
        int index = keyGroup - range.getStartKeyGroup();
        if (index > batchLast) {
            loadBatch(index);
        }
        int from = starts[index - batchFirst];
        int inMemory = starts[index - batchFirst + 1] - from;
        int inFiles = cold.load(keyGroup);
        int count = inFiles + inMemory;
        records = records.length < count ? new long[count] : records;
        for (int i = 0; i < inFiles; i++) {
            records[i] = cold.record(i);
        }
        System.arraycopy(batch, from, records, inFiles, inMemory);
        recordCount = sort.sort(records, count);
    }

    private void loadBatch(int first) {
        int last = first;
        long total = counts[first];
        while (last + 1 < counts.length && total + counts[last + 1] <= BATCH_RECORDS) {
            total += counts[++last];
        }
        batchFirst = first;
        batchLast = last;
        starts = new int[last - first + 2];
        for (int i = first; i <= last; i++) {
            starts[i - first + 1] = starts[i - first] + counts[i];
        }
        batch = batch.length < total ? new long[(int) total] : batch;
        int[] next = Arrays.copyOf(starts, starts.length);
        int firstKeyGroup = first + range.getStartKeyGroup();
        int lastKeyGroup = last + range.getStartKeyGroup();
        runs.forEach(
                record -> {
                    int keyGroup = Record.keyGroup(record);
                    if (keyGroup >= firstKeyGroup && keyGroup <= lastKeyGroup) {
                        batch[next[keyGroup - firstKeyGroup]++] = record;
                    }
                });
    }

    long record(int index) {
        return records[index];
    }

    @Override
    public void close() {
        cold.close();
    }

    /** The first record of an identity, or where it would be. */
    int firstOf(int identity) {
        int low = 0;
        int high = recordCount;
        while (low < high) {
            int middle = low + high >>> 1;
            if (Record.identity(records[middle]) < identity) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    /** The live whole record of that key, or 0. */
    long find(int identity, long key, int keyLength) {
        long hash = KeyHash.hash(identity, key, keyLength);
        int low = firstOf(identity);
        int high = firstOf(identity + 1);
        int end = high;
        while (low < high) {
            int middle = low + high >>> 1;
            if (Long.compareUnsigned(KeyGroupSort.hash(records[middle]), hash) < 0) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        for (int i = low; i < end && KeyGroupSort.hash(records[i]) == hash; i++) {
            if (Record.keyLength(records[i]) == keyLength
                    && Memory.equal(Record.keyAddress(records[i]), key, keyLength)) {
                return Record.has(records[i], Record.TOMBSTONE) ? 0 : records[i];
            }
        }
        return 0;
    }
}
