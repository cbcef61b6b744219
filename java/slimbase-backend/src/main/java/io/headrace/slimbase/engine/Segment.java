package io.headrace.slimbase.engine;

import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * The chunks that become one file: at most {@link Log#SEGMENT_BYTES} of records of one epoch. Owned by the task thread.
 */
public final class Segment {
    private final long number;
    private int epoch;
    private int[] chunks = new int[4];
    private int chunkCount;
    /** Chunks before this one were cleaned and freed. */
    private int firstChunk;

    long usedBytes;
    /** Bytes of records that the index reaches, and of tombstones. */
    long liveBytes;
    long tombstoneBytes;
    boolean retired;
    /** Being packed or let go of: not for cleaning. */
    boolean leaving;
    private Object tag;

    /** Snapshots that have not read the segment yet. */
    private final List<SegmentView> readers = new CopyOnWriteArrayList<>();

    Segment(long number, int epoch) {
        this.number = number;
        this.epoch = epoch;
    }

    void add(int chunk) {
        if (chunkCount == chunks.length) {
            chunks = Arrays.copyOf(chunks, chunkCount * 2);
        }
        chunks[chunkCount++] = chunk;
    }

    void addReader(SegmentView view) {
        readers.add(view);
    }

    void removeReader(SegmentView view) {
        readers.remove(view);
    }

    boolean isRead() {
        return !readers.isEmpty();
    }

    /** Snapshots that have not begun to read the segment read this file instead. */
    void movedTo(ColdFile file) {
        readers.forEach(view -> view.moveTo(file));
    }

    int chunkCount() {
        return chunkCount - firstChunk;
    }

    int chunk(int index) {
        return chunks[firstChunk + index];
    }

    int removeFirstChunk() {
        return chunks[firstChunk++];
    }

    int epoch() {
        return epoch;
    }

    void setEpoch(int epoch) {
        this.epoch = epoch;
    }

    /** Ascending with age: the greater, the newer. */
    public long number() {
        return number;
    }

    public long usedBytes() {
        return usedBytes;
    }

    public long liveBytes() {
        return liveBytes;
    }

    public boolean isRetired() {
        return retired;
    }

    /** What the snapshot strategy has put here, e.g. the uploaded file. */
    public Object tag() {
        return tag;
    }

    public void setTag(Object tag) {
        this.tag = tag;
    }
}
