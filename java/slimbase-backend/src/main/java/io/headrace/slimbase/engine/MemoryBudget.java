package io.headrace.slimbase.engine;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The bytes that the operators of one slot may take together. Thread-safe.
 *
 * <p>An engine cleans on its own thread only. One that has no garbage left of its own and still wants memory calls a shortage: the others see it at
 * their next write or barrier, clean, and so give back what they had let gather.
 */
public final class MemoryBudget {
    private final long limitBytes;
    private final AtomicLong used = new AtomicLong();
    private final AtomicInteger waiting = new AtomicInteger();
    private volatile int shortages;

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
        if (waiting.get() > 0) {
            synchronized (this) {
                notifyAll();
            }
        }
    }

    /** How often somebody has been short of memory. */
    int shortages() {
        return shortages;
    }

    /** Calls a shortage and waits until less is used than `seen`; false when nobody gave anything back in time. */
    boolean awaitLess(long seen, long timeoutMs) {
        long deadline = System.nanoTime() + timeoutMs * 1_000_000;
        waiting.incrementAndGet();
        try {
            synchronized (this) {
                shortages++;
                while (used.get() >= seen) {
                    long leftMs = (deadline - System.nanoTime()) / 1_000_000;
                    if (leftMs <= 0) {
                        return false;
                    }
                    wait(leftMs);
                }
                return true;
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        } finally {
            waiting.decrementAndGet();
        }
    }

    public long usedBytes() {
        return used.get();
    }

    public long limitBytes() {
        return limitBytes;
    }
}
