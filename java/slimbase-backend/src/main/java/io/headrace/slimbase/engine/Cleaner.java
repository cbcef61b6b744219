package io.headrace.slimbase.engine;

import java.util.ArrayDeque;
import java.util.Map;

/**
 * Copies what is still wanted out of a victim segment, record by record, and frees its chunks; docs/concepts/slimbase-format.md, Life of the log.
 *
 * <p>Work is paid for by appends, {@link #PACE} bytes scanned for each appended, so no single operation waits for a whole segment. Victims are
 * segments with little left alive; 16 of one size class, so that files stay few; the oldest one, when tombstones have become many.
 */
final class Cleaner {
    /** Bytes scanned for a byte appended: where a third is garbage three are needed to keep up; five leave room. */
    private static final int PACE = 5;
    /** Garbage that is never worth a look: this, or this part of a small budget. */
    private static final long SLACK = 512 << 10;
    private static final int SLACK_BUDGET_SHARE = 256;
    private static final long SMALLEST_SLACK = 64 << 10;
    /** When another engine of the slot is short: the garbage that is left, as a share of what is alive. */
    private static final double SHORTAGE_SHARE = 0.1;
    private static final int SHORTAGE_SEGMENTS = 4;
    /** Bytes scanned at a barrier when memory is short: below 2 ms. */
    private static final long BARRIER_BYTES = 1 << 20;
    private static final int SIZE_CLASS_BITS = 4;
    private static final int SIZE_CLASS_COUNT = 16;
    /** With time-to-live states, the oldest segment that has anything expired is cleaned every so many barriers. */
    private static final int EXPIRY_BARRIERS = 8;
    /** A segment is a victim when this share of a sample has expired: four bytes are copied for one won, at most. */
    private static final double EXPIRED_SHARE = 0.25;
    /** The same where memory is short, or seldom: nearly anything helps. */
    private static final double EXPIRED_LITTLE = 0.05;
    /** Segments sampled when a chunk is added; about 10 us each. */
    private static final int SAMPLED_SEGMENTS = 4;

    private final EngineMemory engine;
    private final Log log;
    private final Chunks chunks;
    private final long slack;
    private final ArrayDeque<Segment> merging = new ArrayDeque<>();
    private Segment victim;
    private long offset;
    private int barriers;
    private long sampled;

    Cleaner(EngineMemory engine, Log log, Chunks chunks, long budgetBytes) {
        this.slack = Math.max(SMALLEST_SLACK, Math.min(SLACK, budgetBytes / SLACK_BUDGET_SHARE));
        this.engine = engine;
        this.log = log;
        this.chunks = chunks;
    }

    /** Called before an append of so many bytes. */
    void pay(long appendedBytes) {
        if (victim != null) {
            step(appendedBytes * PACE + 64);
        }
    }

    /** Looks for a victim; called when a chunk is added and at barriers. Tombstones are cleaned out of memory only while no file may need them. */
    void choose() {
        if (victim != null) {
            return;
        }
        while (!merging.isEmpty()) {
            Segment next = merging.poll();
            if (!next.retired && !next.leaving) {
                start(next);
                return;
            }
        }
        long garbage = log.usedBytes - log.liveBytes;
        if (garbage > log.liveBytes * engine.garbageShare() + slack) {
            Segment best = leastAlive(0.9);
            if (best == null && log.open() != null && log.open().usedBytes > slack) {
                log.closeSegment(); // what is garbage is in the open one: the next call may choose it
            }
            start(best);
        } else if (!engine.hasCold && log.tombstoneBytes > (log.liveBytes - log.tombstoneBytes) / 4 + slack) {
            Segment oldest = log.segments().firstEntry().getValue();
            start(oldest == log.open() || oldest.leaving ? null : oldest);
        } else {
            chooseCrowd();
            if (victim == null && engine.hasFilters()) {
                start(nextExpired());
            }
        }
    }

    /** Samples the next few segments in turn: where nothing is ever overwritten, expired values are the only garbage there is. */
    private Segment nextExpired() {
        for (int i = 0; i < SAMPLED_SEGMENTS; i++) {
            Map.Entry<Long, Segment> next = log.segments().higherEntry(sampled);
            if (next == null) {
                sampled = 0;
                return null;
            }
            sampled = next.getKey();
            if (isFree(next.getValue()) && engine.expiredShare(next.getValue()) > EXPIRED_SHARE) {
                return next.getValue();
            }
        }
        return null;
    }

    /** The oldest segment of which something has expired. */
    private Segment oldestExpired() {
        if (engine.hasFilters()) {
            for (Segment segment : log.segments().values()) {
                if (isFree(segment) && engine.expiredShare(segment) > EXPIRED_LITTLE) {
                    return segment;
                }
            }
        }
        return null;
    }

    void barrier() {
        barriers++;
        if (victim == null && engine.hasFilters() && barriers % EXPIRY_BARRIERS == 0 && !log.segments().isEmpty()) {
            start(oldestExpired());
        }
        choose();
    }

    /** Called before a barrier: when memory is short, an engine that nobody writes to does here what appends would pay for. */
    void spend() {
        if (victim != null && engine.isMemoryShort()) {
            step(BARRIER_BYTES);
        }
    }

    /** Another engine of the slot wants memory: gives back what is garbage here, a few segments at once. */
    void relieve() {
        for (int i = 0; i < SHORTAGE_SEGMENTS && log.usedBytes - log.liveBytes > log.liveBytes * SHORTAGE_SHARE + SMALLEST_SLACK; i++) {
            if (!cleanNow()) {
                return;
            }
        }
    }

    private boolean isFree(Segment segment) {
        return segment != log.open() && !segment.leaving;
    }

    /** Cleans a segment of which little is alive rather than let it leave memory, unless another one is being cleaned. */
    void begin(Segment segment) {
        if (victim == null) {
            start(segment);
        }
    }

    boolean isAtWork() {
        return victim != null;
    }

    boolean isCleaning(Segment segment) {
        return victim == segment;
    }

    /** Leaves the victim as it is; returns the offset in its first chunk up to which its records have been moved. */
    long abandon() {
        victim = null;
        return offset;
    }

    private Segment leastAlive(double below) {
        Segment best = null;
        double bestShare = below;
        for (Segment segment : log.segments().values()) {
            if (isFree(segment) && segment.usedBytes > 0) {
                double share = (double) segment.liveBytes / segment.usedBytes;
                if (share < bestShare) {
                    best = segment;
                    bestShare = share;
                }
            }
        }
        return best;
    }

    /** 16 sealed segments of one size class are merged, the smallest class first. */
    private void chooseCrowd() {
        if (log.segments().size() <= SIZE_CLASS_COUNT) {
            return;
        }
        int[] counts = new int[16];
        for (Segment segment : log.segments().values()) {
            if (segment.epoch() != log.epoch() && !segment.leaving) {
                counts[sizeClass(segment)]++;
            }
        }
        for (int size = 0; size < counts.length - 1; size++) {
            if (counts[size] >= SIZE_CLASS_COUNT && (16 << 10L) << SIZE_CLASS_BITS * size < Log.SEGMENT_BYTES) {
                for (Segment segment : log.segments().values()) {
                    if (segment.epoch() != log.epoch() && !segment.leaving && sizeClass(segment) == size) {
                        merging.add(segment);
                    }
                }
                start(merging.poll());
                return;
            }
        }
    }

    private static int sizeClass(Segment segment) {
        long units = Math.max(1, segment.liveBytes >> 14);
        return Math.min(14, (63 - Long.numberOfLeadingZeros(units)) / SIZE_CLASS_BITS);
    }

    private void start(Segment segment) {
        victim = segment;
        offset = 0;
    }

    /** Cleans the best victim wholly, for want of memory; true when chunks were given up. */
    boolean cleanNow() {
        if (victim == null) {
            start(leastAlive(0.95));
        }
        if (victim == null) {
            log.closeSegment();
            start(leastAlive(0.95));
        }
        if (victim == null) {
            start(oldestExpired());
        }
        if (victim == null) {
            return false;
        }
        Segment cleaned = victim;
        while (victim == cleaned) {
            step(Log.LAST_CHUNK);
        }
        return true;
    }

    private void step(long bytes) {
        long left = bytes;
        while (left > 0) {
            if (victim.chunkCount() == 0) {
                finish();
                return;
            }
            int chunk = victim.chunk(0);
            if (offset >= chunks.used[chunk] || isAllDead()) {
                freeFirstChunk(chunk);
                continue;
            }
            long record = chunks.address(chunk) + offset;
            long size = Record.size(record);
            engine.ensureRoomForCleaning(size + 8);
            engine.clean(record, Chunks.logical(chunk, offset), victim);
            offset += size;
            left -= size;
        }
    }

    private boolean isAllDead() {
        return victim.liveBytes == 0;
    }

    private void freeFirstChunk(int chunk) {
        victim.removeFirstChunk();
        victim.usedBytes -= chunks.used[chunk];
        log.usedBytes -= chunks.used[chunk];
        chunks.free(chunk);
        engine.moved();
        offset = 0;
    }

    private void finish() {
        Segment done = victim;
        victim = null;
        log.retire(done);
        choose();
    }
}
