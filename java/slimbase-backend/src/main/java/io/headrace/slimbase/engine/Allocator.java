package io.headrace.slimbase.engine;

/** Where chunks and index nodes come from. Budgets are the caller's affair. Thread-safe. */
public interface Allocator {
    /** Zeroed memory, aligned to 64 bytes; 0 when the machine refuses. */
    long allocate(long bytes);

    /**
     * The same for one that knows how much more its budget has room for: what is prepared for later allocations stays within that room, so that the
     * process never holds more than its budgets.
     */
    default long allocate(long bytes, long roomBytes) {
        return allocate(bytes);
    }

    void free(long address, long bytes);

    /** Whether the memory comes from the native library (huge pages). */
    boolean isNative();
}
