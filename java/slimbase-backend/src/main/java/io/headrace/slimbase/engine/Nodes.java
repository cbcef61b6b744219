package io.headrace.slimbase.engine;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Memory of index nodes and directories: a few sizes, carved from blocks, freed ones used again for the same size. */
final class Nodes {
    private static final long FIRST_BLOCK = 16 << 10;
    private static final long LAST_BLOCK = 1 << 20;

    private final Allocator allocator;
    private final MemoryBudget budget;
    private final List<long[]> blocks = new ArrayList<>();
    private final Map<Integer, LongStack> free = new HashMap<>();
    private long cursor;
    private long end;
    private long allocatedBytes;

    Nodes(Allocator allocator, MemoryBudget budget) {
        this.allocator = allocator;
        this.budget = budget;
    }

    long allocatedBytes() {
        return allocatedBytes;
    }

    /** Zeroed, aligned to 64 bytes; 0 when there is no room. `bytes` is a multiple of 64. */
    long allocate(int bytes) {
        LongStack stack = free.get(bytes);
        if (stack != null && stack.size > 0) {
            long address = stack.pop();
            Memory.zero(address, bytes);
            return address;
        }
        if (end - cursor < bytes && !addBlock(bytes)) {
            return 0;
        }
        long address = cursor;
        cursor += bytes;
        return address;
    }

    private boolean addBlock(int bytes) {
        long wanted = Math.max(bytes, Math.max(FIRST_BLOCK, Math.min(LAST_BLOCK, Long.highestOneBit(allocatedBytes / 2 + 1))));
        if (!budget.tryReserve(wanted)) {
            wanted = bytes;
            if (!budget.tryReserve(wanted)) {
                return false;
            }
        }
        long address = allocator.allocate(wanted);
        if (address == 0) {
            budget.release(wanted);
            return false;
        }
        keepRest();
        blocks.add(new long[] {address, wanted});
        allocatedBytes += wanted;
        cursor = address;
        end = address + wanted;
        return true;
    }

    /** What the last block has left serves as small nodes. */
    private void keepRest() {
        for (int code = Index.MAX_CODE; code >= 0; code--) {
            int bytes = Index.nodeBytes(code);
            while (end - cursor >= bytes) {
                free(cursor, bytes);
                cursor += bytes;
            }
        }
    }

    void free(long address, int bytes) {
        free.computeIfAbsent(bytes, ignored -> new LongStack()).push(address);
    }

    void close() {
        for (long[] block : blocks) {
            allocator.free(block[0], block[1]);
            budget.release(block[1]);
        }
        blocks.clear();
        free.clear();
        cursor = end = allocatedBytes = 0;
    }

    private static final class LongStack {
        private long[] items = new long[16];
        private int size;

        void push(long item) {
            if (size == items.length) {
                items = java.util.Arrays.copyOf(items, size * 2);
            }
            items[size++] = item;
        }

        long pop() {
            return items[--size];
        }
    }
}
