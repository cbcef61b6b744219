package io.headrace.slimbase.engine;

import java.util.ArrayDeque;

/**
 * Copies of records whose key was read from files twice: in memory, in the index, in no file of their own. Chunks leave in the order of their
 * making, those sooner of which half was written over; a record that is still read comes back. Task thread.
 *
 * <p>Which keys were read once is remembered by 16 bits of their hashes, in a table that forgets by being overwritten, so that a scan over
 * everything leaves the cache alone.
 */
final class ReadCache {
    private static final long CHUNK = 256 << 10;
    /** Larger values would fill a chunk with one record. */
    private static final long RECORD_LIMIT = CHUNK / 8;
    /** One remembered hash for so many bytes of budget: about as many as records fit. */
    private static final long BYTES_PER_HASH = 256;
    private static final int HASHES_MAX = 1 << 24;

    private final Chunks chunks;
    private final MemoryBudget budget;
    private final ArrayDeque<Segment> segments = new ArrayDeque<>();
    private final long seen;
    private final int seenMask;
    private long tail;
    private long tailUsed;
    private long tailCapacity;
    private long bytes;

    long promotions;

    ReadCache(Chunks chunks, MemoryBudget budget) {
        this.chunks = chunks;
        this.budget = budget;
        long hashes = Math.min(HASHES_MAX, Long.highestOneBit(Math.max(1024, budget.limitBytes() / BYTES_PER_HASH)));
        this.seenMask = (int) hashes - 1;
        this.seen = Memory.allocate(hashes * Short.BYTES);
        Memory.zero(seen, hashes * Short.BYTES);
        charge();
    }

    private void charge() {
        if (!budget.tryReserve((seenMask + 1L) * Short.BYTES)) {
            budget.release(-(seenMask + 1L) * Short.BYTES);
        }
    }

    /** Bytes of chunks. */
    long bytes() {
        return bytes;
    }

    /** Whether the key was read not long ago; it is remembered in any case. */
    boolean wasReadBefore(long hash) {
        long at = seen + (hash & seenMask) * Short.BYTES;
        short mark = (short) (hash >>> 32 | 1);
        if (Memory.getShort(at) == mark) {
            return true;
        }
        Memory.putShort(at, mark);
        return false;
    }

    /** Whether a record of that size is worth a place. */
    boolean takes(long size) {
        return size <= RECORD_LIMIT;
    }

    boolean hasRoom(long size) {
        return tailUsed + size <= tailCapacity;
    }

    /** Opens a chunk; false when the budget has no room. */
    boolean addChunk() {
        Segment segment = new Segment(0, Log.CACHED);
        int number = chunks.allocate(CHUNK, segment, false);
        if (number == 0) {
            return false;
        }
        segments.add(segment);
        tail = number;
        tailUsed = 0;
        tailCapacity = CHUNK;
        bytes += CHUNK;
        return true;
    }

    /** Copies the record; room was made. Returns the copy's logical address. */
    long add(long record) {
        long size = Record.size(record);
        long to = chunks.address((int) tail) + tailUsed;
        Memory.copy(record, to, size);
        Record.addFlag(to, Record.HAS_PREV);
        chunks.owner[(int) tail].liveBytes += size;
        long logical = Chunks.logical((int) tail, tailUsed);
        tailUsed += size;
        chunks.used[(int) tail] = tailUsed;
        promotions++;
        return logical;
    }

    /** The chunk that leaves next, which is one of which half is dead or the oldest; 0 when there is none. */
    int leavingChunk() {
        if (segments.isEmpty()) {
            return 0;
        }
        int deadest = segments.peek().chunk(0);
        for (Segment each : segments) {
            deadest = deadBytes(each.chunk(0)) > deadBytes(deadest) ? each.chunk(0) : deadest;
        }
        return deadBytes(deadest) >= CHUNK / 2 ? deadest : segments.peek().chunk(0);
    }

    /** What of a chunk no key has any more. */
    long deadBytes(int chunk) {
        return chunks.used[chunk] - chunks.owner[chunk].liveBytes;
    }

    /** Gives a chunk back; the index does not point into it any more. */
    void drop(int chunk) {
        segments.remove(chunks.owner[chunk]);
        if (chunk == tail) {
            tail = tailUsed = tailCapacity = 0;
        }
        bytes -= CHUNK;
        chunks.free(chunk);
    }

    void close() {
        Memory.free(seen);
        budget.release((seenMask + 1L) * Short.BYTES);
    }
}
