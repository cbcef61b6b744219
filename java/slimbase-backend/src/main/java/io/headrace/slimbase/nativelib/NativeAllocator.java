package io.headrace.slimbase.nativelib;

import io.headrace.slimbase.engine.Allocator;
import io.headrace.slimbase.engine.UnsafeAllocator;

/**
 * Large chunks from the native library, with huge pages; small ones from the C allocator, where a huge page would be a waste. Huge pages make lookups in
 * gigabytes of state 1.3 to 1.9 times as fast (bench/state.py), because a lookup then misses the cache twice and the page table never.
 */
public final class NativeAllocator implements Allocator {
    /** Half a huge page of x86-64: from here on more than half of it is used. */
    private static final long HUGE = 1 << 20;

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
        if (bytes < HUGE) {
            return small.allocate(bytes);
        }
        long spare = bytes == SpareChunks.BYTES ? SPARES.take(roomBytes) : 0;
        return spare != 0 ? spare : NativeSlim.alloc(bytes, true);
    }

    @Override
    public void free(long address, long bytes) {
        if (bytes >= HUGE) {
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
