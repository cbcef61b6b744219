package io.headrace.slimbase.engine;

import java.util.ArrayDeque;

/**
 * Copies of records that were read from files: in memory, in the index, in no file of their own. What was read once waits in a small queue, what was read from
 * files again while its first read is remembered has a place in the large one. Chunks leave in the order of their making, those sooner of which half was written
 * over; a record that is still read comes back. Task thread. The queues are those of S3-FIFO (Yang et al., SOSP 2023) without its bits of use, for which
 * each hit would have to be a write.
 *
 * <p>Which keys were read is remembered by 16 bits of their hashes, in a table that forgets by being overwritten, so that a scan over everything takes no more
 * than the small queue.
 */
final class ReadCache {
    private static final long CHUNK = 256 << 10;
    /** Larger values would fill a chunk with one record. */
    private static final long RECORD_LIMIT = CHUNK / 8;
    /** One remembered hash for so many bytes of budget: about as many as records fit. */
    private static final long BYTES_PER_HASH = 256;
    private static final int HASHES_MAX = 1 << 24;
    /** Share of the budget that records which were read once may have; a chunk at least. */
    private static final double ONCE_SHARE = 1.0 / 16;

    /** Chunks in the order of their making, the last of which takes copies. */
    private static final class Queue {
        final ArrayDeque<Segment> segments = new ArrayDeque<>();
        int tail;
        long tailUsed;
        /** 0 when there is no chunk to add to. */
        long tailCapacity;
    }

    private final Chunks chunks;
    private final MemoryBudget budget;
    private final Queue once = new Queue();
    private final Queue again = new Queue();
    private final long seen;
    private final int seenMask;
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

    private Queue queue(boolean isReadAgain) {
        return isReadAgain ? again : once;
    }

    boolean hasRoom(long size, boolean isReadAgain) {
        Queue queue = queue(isReadAgain);
        return queue.tailUsed + size <= queue.tailCapacity;
    }

    /** Opens a chunk; false when the budget has no room. */
    boolean addChunk(boolean isReadAgain) {
        Segment segment = new Segment(0, Log.CACHED);
        int number = chunks.allocate(CHUNK, segment, false);
        if (number == 0) {
            return false;
        }
        Queue queue = queue(isReadAgain);
        queue.segments.add(segment);
        queue.tail = number;
        queue.tailUsed = 0;
        queue.tailCapacity = CHUNK;
        bytes += CHUNK;
        return true;
    }

    /** Copies the record; room was made. Returns the copy's logical address. */
    long add(long record, boolean isReadAgain) {
        Queue queue = queue(isReadAgain);
        long size = Record.size(record);
        long to = chunks.address(queue.tail) + queue.tailUsed;
        Memory.copy(record, to, size);
        Record.addFlag(to, Record.HAS_PREV);
        chunks.owner[queue.tail].liveBytes += size;
        long logical = Chunks.logical(queue.tail, queue.tailUsed);
        queue.tailUsed += size;
        chunks.used[queue.tail] = queue.tailUsed;
        promotions++;
        return logical;
    }

    /** The oldest chunk of what was read once, when that has its share already; 0 otherwise. */
    int fullOnceChunk() {
        long share = Math.max(CHUNK, (long) (budget.limitBytes() * ONCE_SHARE));
        return once.segments.size() * CHUNK < share ? 0 : once.segments.peek().chunk(0);
    }

    /** The chunk that leaves next, which is one of which half is dead, or the oldest of what was read again, or of the rest; 0 when there is none. */
    int leavingChunk() {
        int deadest = deadest(again, deadest(once, 0));
        if (deadest == 0 || deadBytes(deadest) >= CHUNK / 2) {
            return deadest;
        }
        return (again.segments.isEmpty() ? once : again).segments.peek().chunk(0);
    }

    private int deadest(Queue queue, int other) {
        int deadest = other;
        for (Segment each : queue.segments) {
            deadest = deadest == 0 || deadBytes(each.chunk(0)) > deadBytes(deadest) ? each.chunk(0) : deadest;
        }
        return deadest;
    }

    /** What of a chunk no key has any more. */
    long deadBytes(int chunk) {
        return chunks.used[chunk] - chunks.owner[chunk].liveBytes;
    }

    /** Gives a chunk back; the index does not point into it any more. */
    void drop(int chunk) {
        Queue queue = once.segments.remove(chunks.owner[chunk]) ? once : again;
        queue.segments.remove(chunks.owner[chunk]);
        if (chunk == queue.tail) {
            queue.tail = 0;
            queue.tailUsed = queue.tailCapacity = 0;
        }
        bytes -= CHUNK;
        chunks.free(chunk);
    }

    void close() {
        Memory.free(seen);
        budget.release((seenMask + 1L) * Short.BYTES);
    }
}
