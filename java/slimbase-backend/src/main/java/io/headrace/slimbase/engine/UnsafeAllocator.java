package io.headrace.slimbase.engine;

/** Memory of the C allocator, with ordinary pages: what works without the native library. */
public final class UnsafeAllocator implements Allocator {
    private static final int ALIGNMENT = 64;

    @Override
    public long allocate(long bytes) {
        long raw;
        try {
            raw = Memory.allocate(bytes + ALIGNMENT + 8);
        } catch (OutOfMemoryError e) {
            return 0;
        }
        long address = raw + 8 + ALIGNMENT - 1 & -ALIGNMENT;
        Memory.putLong(address - 8, raw);
        Memory.zero(address, bytes);
        return address;
    }

    @Override
    public void free(long address, long bytes) {
        Memory.free(Memory.getLong(address - 8));
    }

    @Override
    public boolean isNative() {
        return false;
    }
}
