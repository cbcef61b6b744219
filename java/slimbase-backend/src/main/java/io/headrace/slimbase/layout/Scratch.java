package io.headrace.slimbase.layout;

import io.headrace.slimbase.engine.Memory;

/** A piece of memory outside the heap that grows on demand. One thread. */
public final class Scratch implements AutoCloseable {
    private long address;
    private long capacity;

    public Scratch(int bytes) {
        this.capacity = bytes;
        this.address = Memory.allocate(bytes);
    }

    /** The address of at least so many bytes; what was there before stays, but may have moved. */
    public long ensure(long bytes) {
        if (bytes > capacity) {
            long larger = Math.max(bytes, capacity * 2);
            address = Memory.reallocate(address, larger);
            capacity = larger;
        }
        return address;
    }

    public long address() {
        return address;
    }

    /** Copies the bytes in; returns their address. */
    public long set(byte[] bytes) {
        long at = ensure(bytes.length + 8L);
        Memory.copyFromArray(bytes, 0, bytes.length, at);
        return at;
    }

    @Override
    public void close() {
        if (address != 0) {
            Memory.free(address);
            address = 0;
            capacity = 0;
        }
    }
}
