package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.Memory;
import java.io.Closeable;
import java.nio.ByteBuffer;

/** A direct buffer that is used again and again, and grows with what it must hold. */
final class DirectScratch implements Closeable {
    /** What is larger, for one large entry, is given back when the next smaller one comes. */
    private static final int KEPT = 1 << 20;

    private ByteBuffer buffer;
    private long address;

    /** A buffer with room for so many bytes; what an earlier call gave must not be used any more. */
    ByteBuffer ofAtLeast(int bytes) {
        boolean isTooLarge = buffer != null && buffer.capacity() > KEPT && bytes <= KEPT;
        if (buffer == null || buffer.capacity() < bytes || isTooLarge) {
            close();
            long doubled = Math.max(Integer.highestOneBit(Math.max(bytes - 1, 1)) * 2L, FileFormat.BLOCK_LIMIT);
            buffer = ByteBuffer.allocateDirect(bytes > KEPT ? bytes : (int) doubled);
            address = Memory.addressOf(buffer);
        }
        return buffer;
    }

    /** Where the buffer lies. */
    long address() {
        return address;
    }

    @Override
    public void close() {
        if (buffer != null) {
            Memory.free(buffer);
            buffer = null;
            address = 0;
        }
    }
}
