package io.headrace.slimbase.engine;

import java.util.concurrent.atomic.AtomicLong;

/** The bytes that the operators of one slot may take together. Thread-safe. */
public final class MemoryBudget {
    private final long limitBytes;
    private final AtomicLong used = new AtomicLong();

    public MemoryBudget(long limitBytes) {
        this.limitBytes = limitBytes;
    }

    /** Takes the bytes, or takes nothing and says no. */
    public boolean tryReserve(long bytes) {
        while (true) {
            long before = used.get();
            if (before + bytes > limitBytes) {
                return false;
            }
            if (used.compareAndSet(before, before + bytes)) {
                return true;
            }
        }
    }

    public void release(long bytes) {
        long left = used.addAndGet(-bytes);
        assert left >= 0 : "more released than reserved: " + left;
    }

    public long usedBytes() {
        return used.get();
    }

    public long limitBytes() {
        return limitBytes;
    }
}
