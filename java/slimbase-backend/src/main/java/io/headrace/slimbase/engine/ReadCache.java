package io.headrace.slimbase.engine;

import java.util.ArrayDeque;

/**
 * Copies of records that were read from files: in memory, in the index, in no file of their own. What was read once waits in a small queue, what was read from
 * files again while its first read is remembered has a place in the large one. Chunks leave in the order of their making, those sooner of which half was written
 * over; a record that is still read comes back. Task thread. The queues are those of S3-FIFO (Yang et al., SOSP 2023) without its bits of use, for which
 * each hit would have to be a write.
 *
 * <p>Which keys were read is remembered by 16 bits of their hashes, in a table that has four places for each and forgets by being overwritten, so that a scan
 * over everything takes no more than the small queue.
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
    private final long seenBytes;
    private final int seenMask;
    private long bytes;

    long promotions;

    ReadCache(Chunks chunks, MemoryBudget budget) {
        this.chunks = chunks;
        this.budget = budget;
        long fours = Math.min(HASHES_MAX, Long.highestOneBit(Math.max(1024, budget.limitBytes() / BYTES_PER_HASH))) / 4;
        this.seenMask = (int) fours - 1;
        this.seenBytes = fours * Long.BYTES;
        this.seen = Memory.allocate(seenBytes);
        Memory.zero(seen, seenBytes);
        if (!budget.tryReserve(seenBytes)) {
            budget.release(-seenBytes);
        }
    }

    /** Bytes of chunks. */
    long bytes() {
        return bytes;
    }

    /** Whether the key was read not long ago; it is remembered in any case, in the place of the one of its four that was remembered first. */
    boolean wasReadBefore(long hash) {
        long at = seen + (hash & seenMask) * Long.BYTES;
        long marks = Memory.getLong(at);
        long mark = hash >>> 48 | 1;
        for (long rest = marks; rest != 0; rest >>>= Short.SIZE) {
            if ((rest & 0xFFFF) == mark) {
                return true;
            }
        }
        Memory.putLong(at, marks << Short.SIZE | mark);
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

    /** Whether what was read once has its share. */
    boolean isOnceFull() {
        return once.segments.size() * CHUNK >= Math.max(CHUNK, (long) (budget.limitBytes() * ONCE_SHARE));
    }

    /** What was read once takes a chunk where there is no room for more. */
    boolean isOnceOneChunk() {
        return once.segments.size() <= 1;
    }

    /** The chunk that leaves next: one of which half is dead, or the oldest, first of what was read once. 0 when there is none. */
    int leavingChunk() {
        return leavingChunk(once.segments.isEmpty() ? again : once);
    }

    /** The chunk that makes room for what was read once, or again: of the same queue, that a scan does not push out what is used. 0 when there is none. */
    int chunkInPlaceOf(boolean isReadAgain) {
        return leavingChunk(queue(isReadAgain));
    }

    private int leavingChunk(Queue queue) {
        int deadest = deadest(again, deadest(once, 0));
        if (deadest != 0 && deadBytes(deadest) >= CHUNK / 2) {
            return deadest;
        }
        return queue.segments.isEmpty() ? 0 : queue.segments.peek().chunk(0);
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
        budget.release(seenBytes);
    }
}
