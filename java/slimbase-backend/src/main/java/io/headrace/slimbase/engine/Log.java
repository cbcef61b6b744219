package io.headrace.slimbase.engine;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;

/** The append-only log: segments of chunks, the newest open for appends. Bookkeeping only; what is live is the engine's knowledge. */
final class Log {
    static final long FIRST_CHUNK = 16 << 10;
    static final long LAST_CHUNK = 4 << 20;
    /** A file's size at most, but for one record. */
    static final long SEGMENT_BYTES = 64 << 20;
    private static final long SMALLEST_SEGMENT_BYTES = 256 << 10;
    /** A segment is at most this part of the budget, so that cleaning one always helps. */
    private static final int BUDGET_SHARE = 8;
    /** Epoch of restored segments: always sealed. */
    static final int RESTORED = -1;
    /** Epoch of segments that were sealed one by one, to leave memory. */
    static final int LEAVING = -3;
    /** Epoch of the read cache's chunks, which are in no file. */
    static final int CACHED = -2;

    private final Chunks chunks;
    private final TreeMap<Long, Segment> segments = new TreeMap<>();
    private Segment open;
    /** Merges in the background take numbers, too. */
    private final AtomicLong nextNumber = new AtomicLong(1);
    private int tail;
    private long tailAddress;
    private long tailOffset;
    private long tailCapacity;
    private int epoch = 1;

    long usedBytes;
    long liveBytes;
    long tombstoneBytes;
    long appendedBytes;

    private final long segmentBytes;

    Log(Chunks chunks, long budgetBytes) {
        this.chunks = chunks;
        this.segmentBytes = Math.max(SMALLEST_SEGMENT_BYTES, Math.min(SEGMENT_BYTES, budgetBytes / BUDGET_SHARE));
    }

    int epoch() {
        return epoch;
    }

    TreeMap<Long, Segment> segments() {
        return segments;
    }

    Segment open() {
        return open;
    }

    boolean hasRoom(long bytes) {
        return tailOffset + bytes <= tailCapacity;
    }

    /** Opens a chunk with room for the record; false when there is no memory. */
    boolean addChunk(long bytes, boolean force, int segmentEpoch) {
        // A restored segment stays one, whatever its size: its file is used again.
        if (open != null && open.epoch() != RESTORED && open.usedBytes + tailOffset >= segmentBytes) {
            closeSegment();
        }
        closeChunk();
        boolean isNew = open == null;
        Segment segment = isNew ? new Segment(takeNumber(), segmentEpoch) : open;
        long wanted = Math.max(FIRST_CHUNK, Math.min(LAST_CHUNK, Long.highestOneBit(segment.usedBytes + 1)));
        int number = chunks.allocate(Math.max(wanted, bytes), segment, force);
        if (number == 0 && wanted > bytes) {
            number = chunks.allocate(Math.max(FIRST_CHUNK, bytes), segment, force);
        }
        if (number == 0) {
            return false;
        }
        if (isNew) {
            open = segment;
            segments.put(segment.number(), segment);
        }
        tail = number;
        tailAddress = chunks.address(number);
        tailOffset = 0;
        tailCapacity = chunks.capacity(number);
        return true;
    }

    /** What a segment should have at least before it becomes a file: each file is one more for lookups to ask. */
    private long leastFileBytes() {
        return segmentBytes / 2;
    }

    /** Whether all that is in memory is too little for a file, so that other memory should make room first. */
    boolean isStarved() {
        return usedBytes < leastFileBytes();
    }

    /** Whether the segment is still written to and too small for a file. */
    boolean isGrowing(Segment segment) {
        return segment == open && segment.usedBytes + tailOffset < leastFileBytes();
    }

    /** Where the next record will be; room was made. */
    long nextAddress() {
        return tailAddress + tailOffset;
    }

    /** Takes the bytes; returns the logical address. */
    long take(long bytes) {
        long logical = Chunks.logical(tail, tailOffset);
        tailOffset += bytes;
        usedBytes += bytes;
        appendedBytes += bytes;
        return logical;
    }

    private void closeChunk() {
        if (tail != 0) {
            chunks.used[tail] = tailOffset;
            open.usedBytes += tailOffset;
            tail = 0;
            tailOffset = tailCapacity = 0;
        }
    }

    void closeSegment() {
        closeChunk();
        open = null;
    }

    void nextEpoch() {
        closeSegment();
        epoch++;
    }

    boolean isCurrent(int chunk) {
        return chunks.epoch[chunk] == epoch;
    }

    /** Whether a segment older than this one is still in memory. */
    boolean hasOlder(Segment segment) {
        return segments.firstKey() < segment.number();
    }

    void retire(Segment segment) {
        segment.retired = true;
        leave(segment);
    }

    /** The segment is in memory no more; its file is still wanted. */
    void leave(Segment segment) {
        segments.remove(segment.number());
        tombstoneBytes -= segment.tombstoneBytes;
        liveBytes -= segment.liveBytes;
    }

    /** A number that no segment and no file has. */
    long takeNumber() {
        return nextNumber.getAndIncrement();
    }

    /** The oldest segment, or null. */
    Segment oldest() {
        return segments.isEmpty() ? null : segments.firstEntry().getValue();
    }

    /** Nothing of the segment may be changed any more. */
    void seal(Segment segment) {
        if (segment == open) {
            closeSegment();
        }
        if (segment.epoch() == epoch) {
            segment.setEpoch(LEAVING);
            for (int i = 0; i < segment.chunkCount(); i++) {
                chunks.epoch[segment.chunk(i)] = LEAVING;
            }
        }
    }

    /** Sealed segments with their chunks, oldest first, but for the one that has become a file (may be null). */
    List<SegmentView> sealedViews(Segment without) {
        List<SegmentView> views = new ArrayList<>(segments.size());
        for (Segment segment : segments.values()) {
            if (segment.epoch() != epoch && segment != without) {
                views.add(view(segment));
            }
        }
        return views;
    }

    SegmentView view(Segment segment) {
        int count = segment.chunkCount();
        long[] addresses = new long[count];
        long[] bytes = new long[count];
        for (int i = 0; i < count; i++) {
            addresses[i] = chunks.address(segment.chunk(i));
            bytes[i] = chunks.used[segment.chunk(i)];
        }
        return new SegmentView(segment, addresses, bytes);
    }
}
