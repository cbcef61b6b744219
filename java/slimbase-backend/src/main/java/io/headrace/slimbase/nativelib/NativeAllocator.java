package io.headrace.slimbase.nativelib;

import io.headrace.slimbase.engine.Allocator;
import io.headrace.slimbase.engine.UnsafeAllocator;

/**
 * Large chunks from the native library, with huge pages; small ones from the C allocator, where a huge page would be a waste. Huge pages make lookups in
 * gigabytes of state 1.3 to 1.9 times as fast (bench/state.py), because a lookup then misses the cache twice and the page table never.
 *
 * <p>Between the two, where an engine begins and at the head of each of its segments, is memory with ordinary pages: the first touch of a huge one would stop a
 * record for milliseconds (see {@link SpareChunks}), and no spare of that size is ready.
 */
public final class NativeAllocator implements Allocator {
    /** From here on the machine is asked for memory directly; the C allocator would do the same, and zero it once more. */
    private static final long MAPPED = 1 << 20;

    /** One set for the process: spares are few, operators many. */
    private static final SpareChunks SPARES = new SpareChunks();

    private final UnsafeAllocator small = new UnsafeAllocator();

    private NativeAllocator() {}

    /** The native allocator when the library is there, else the C allocator. */
    public static Allocator best() {
        return NativeLibrary.isAvailable() ? new NativeAllocator() : new UnsafeAllocator();
    }

    @Override
    public long allocate(long bytes) {
        return allocate(bytes, 0);
    }

    @Override
    public long allocate(long bytes, long roomBytes) {
        if (bytes < MAPPED) {
            return small.allocate(bytes);
        }
        if (bytes < SpareChunks.BYTES) {
            SPARES.expect(roomBytes);
            return NativeSlim.alloc(bytes, false);
        }
        long spare = bytes == SpareChunks.BYTES ? SPARES.take(roomBytes) : 0;
        return spare != 0 ? spare : NativeSlim.alloc(bytes, true);
    }

    @Override
    public void free(long address, long bytes) {
        if (bytes >= MAPPED) {
            NativeSlim.free(address, bytes);
        } else {
            small.free(address, bytes);
        }
    }

    @Override
    public boolean isNative() {
        return true;
    }
}
