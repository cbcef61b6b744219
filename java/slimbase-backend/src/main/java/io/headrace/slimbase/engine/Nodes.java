package io.headrace.slimbase.engine;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Memory of index nodes and directories, carved from blocks.
 *
 * <p>Nodes of one size tend to be outgrown together, so freed neighbours are joined and serve as larger ones: best fit over free ranges. Only
 * growth comes here, never a lookup.
 */
final class Nodes {
    private static final long FIRST_BLOCK = 16 << 10;
    private static final long LAST_BLOCK = 4 << 20;

    private static final class Range {
        final long address;
        final long bytes;

        Range(long address, long bytes) {
            this.address = address;
            this.bytes = bytes;
        }
    }

    private final Allocator allocator;
    private final MemoryBudget budget;
    private final List<Range> blocks = new ArrayList<>();
    private final TreeMap<Long, Range> byAddress = new TreeMap<>();
    private final TreeSet<Range> bySize =
            new TreeSet<>(Comparator.<Range>comparingLong(range -> range.bytes).thenComparingLong(range -> range.address));
    private long allocatedBytes;

    Nodes(Allocator allocator, MemoryBudget budget) {
        this.allocator = allocator;
        this.budget = budget;
    }

    /** All blocks, free ranges included. */
    long allocatedBytes() {
        return allocatedBytes;
    }

    /** Zeroed, aligned to 64 bytes; 0 when there is no room. `bytes` is a multiple of 64. */
    long allocate(int bytes) {
        Range fitting = bySize.ceiling(new Range(0, bytes));
        if (fitting == null) {
            if (!addBlock(bytes)) {
                return 0;
            }
            fitting = bySize.ceiling(new Range(0, bytes));
        }
        take(fitting);
        if (fitting.bytes > bytes) {
            give(new Range(fitting.address + bytes, fitting.bytes - bytes));
        }
        Memory.zero(fitting.address, bytes);
        return fitting.address;
    }

    private void take(Range range) {
        byAddress.remove(range.address);
        bySize.remove(range);
    }

    private void give(Range range) {
        byAddress.put(range.address, range);
        bySize.add(range);
    }

    private boolean addBlock(int bytes) {
        long wanted = Math.max(bytes, Math.max(FIRST_BLOCK, Math.min(LAST_BLOCK, Long.highestOneBit(allocatedBytes / 2 + 1))));
        if (!budget.tryReserve(wanted)) {
            wanted = bytes;
            if (!budget.tryReserve(wanted)) {
                return false;
            }
        }
        long address = allocator.allocate(wanted, budget.limitBytes() - budget.usedBytes());
        if (address == 0) {
            budget.release(wanted);
            return false;
        }
        blocks.add(new Range(address, wanted));
        allocatedBytes += wanted;
        give(new Range(address, wanted));
        return true;
    }

    void free(long address, int bytes) {
        long from = address;
        long to = address + bytes;
        var before = byAddress.floorEntry(address);
        if (before != null && before.getKey() + before.getValue().bytes == from) {
            from = before.getKey();
            take(before.getValue());
        }
        Range after = byAddress.get(to);
        if (after != null) {
            to += after.bytes;
            take(after);
        }
        give(new Range(from, to - from));
    }

    void close() {
        for (Range block : blocks) {
            allocator.free(block.address, block.bytes);
            budget.release(block.bytes);
        }
        blocks.clear();
        byAddress.clear();
        bySize.clear();
        allocatedBytes = 0;
    }
}
