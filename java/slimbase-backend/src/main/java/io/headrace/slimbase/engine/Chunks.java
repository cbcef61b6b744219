package io.headrace.slimbase.engine;

import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Iterator;

/**
 * The chunk table: number to memory, and what else is known of a chunk. Freed memory is given back when no snapshot reads it any more.
 */
final class Chunks {
    static final int NUMBER_BITS = 21;
    static final int OFFSET_BITS = 19;
    static final int LIMIT = 1 << NUMBER_BITS;
    static final long OFFSET_MASK = (1L << OFFSET_BITS) - 1;
    static final long ADDRESS_MASK = (1L << 40) - 1;

    private static final class Deferred {
        final int number;
        final Segment segment;
        final long stamp;

        Deferred(int number, Segment segment, long stamp) {
            this.number = number;
            this.segment = segment;
            this.stamp = stamp;
        }
    }

    private final Allocator allocator;
    private final MemoryBudget budget;
    private final Pins pins;
    private final ArrayDeque<Integer> freeNumbers = new ArrayDeque<>();
    private final ArrayDeque<Deferred> deferred = new ArrayDeque<>();
    private int next = 1;
    private int length = 64;
    /** Native u64 per number: memory address or 0. */
    long table = Memory.allocate(8L * length);

    private long[] capacity = new long[length];
    long[] used = new long[length];
    int[] epoch = new int[length];
    Segment[] owner = new Segment[length];
    private long allocatedBytes;

    Chunks(Allocator allocator, MemoryBudget budget, Pins pins) {
        this.allocator = allocator;
        this.budget = budget;
        this.pins = pins;
        Memory.zero(table, 8L * length);
    }

    int length() {
        return length;
    }

    long allocatedBytes() {
        return allocatedBytes;
    }

    long address(int number) {
        return Memory.getLong(table + 8L * number);
    }

    long capacity(int number) {
        return capacity[number];
    }

    static int number(long logical) {
        return (int) (logical >>> OFFSET_BITS) & LIMIT - 1;
    }

    /** Memory address of a logical one. */
    long resolve(long logical) {
        return Memory.getLong(table + 8L * number(logical)) + ((logical & OFFSET_MASK) << 3);
    }

    static long logical(int number, long offset) {
        return (long) number << OFFSET_BITS | offset >>> 3;
    }

    /** A chunk's number, or 0 when the budget or the machine has no room for it. `force`: beyond the budget, for cleaning. */
    int allocate(long bytes, Segment segment, boolean force) {
        if (!budget.tryReserve(bytes)) {
            if (!force) {
                return 0;
            }
            budget.release(-bytes);
        }
        long address = allocator.allocate(bytes, budget.limitBytes() - budget.usedBytes());
        if (address == 0) {
            budget.release(bytes);
            return 0;
        }
        int number = takeNumber();
        Memory.putLong(table + 8L * number, address);
        capacity[number] = bytes;
        used[number] = 0;
        epoch[number] = segment.epoch();
        owner[number] = segment;
        allocatedBytes += bytes;
        segment.add(number);
        return number;
    }

    private int takeNumber() {
        Integer free = freeNumbers.poll();
        if (free != null) {
            return free;
        }
        if (next == LIMIT) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unsupported,
                    "state has more chunks than addresses, chunks=" + LIMIT,
                    "raise the operator's parallelism",
                    null);
        }
        if (next == length) {
            grow();
        }
        return next++;
    }

    private void grow() {
        table = Memory.reallocate(table, 16L * length);
        Memory.zero(table + 8L * length, 8L * length);
        length *= 2;
        capacity = Arrays.copyOf(capacity, length);
        used = Arrays.copyOf(used, length);
        epoch = Arrays.copyOf(epoch, length);
        owner = Arrays.copyOf(owner, length);
    }

    /** Gives the memory back as soon as nobody reads it any more who might have begun before. */
    void free(int number) {
        deferred.add(new Deferred(number, owner[number], pins.stamp()));
        owner[number] = null;
        releaseUnread();
    }

    /** Frees what readers have left; true when something was freed. */
    boolean releaseUnread() {
        boolean any = false;
        for (Iterator<Deferred> each = deferred.iterator(); each.hasNext(); ) {
            Deferred next = each.next();
            if (isUnread(next)) {
                each.remove();
                release(next.number);
                any = true;
            }
        }
        return any;
    }

    private boolean isUnread(Deferred memory) {
        return !memory.segment.isRead() && pins.isFree(memory.stamp);
    }

    /** Waits until something that was freed is not read any more; false when there is nothing such, or not in time. */
    boolean awaitUnread(long millis) {
        return !deferred.isEmpty() && pins.await(() -> deferred.stream().anyMatch(this::isUnread), millis);
    }

    private void release(int number) {
        long bytes = capacity[number];
        allocator.free(address(number), bytes);
        budget.release(bytes);
        allocatedBytes -= bytes;
        Memory.putLong(table + 8L * number, 0);
        freeNumbers.add(number);
    }

    /** Frees everything; no snapshot may be reading. */
    void close() {
        deferred.clear();
        for (int number = 1; number < next; number++) {
            if (address(number) != 0) {
                release(number);
            }
        }
        Memory.free(table);
        table = 0;
    }
}
