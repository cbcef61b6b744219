package io.headrace.slimbase.engine;

import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/** Which snapshots still read memory. Pinned by the task thread, unpinned by any. */
final class Pins {
    private final ConcurrentSkipListSet<Long> active = new ConcurrentSkipListSet<>();
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    private long last;
    private Runnable whenFree;

    long pin() {
        active.add(++last);
        return last;
    }

    /** What is freed now may be read by pins up to this one. */
    long stamp() {
        return last;
    }

    void unpin(long pin) {
        lock.lock();
        try {
            active.remove(pin);
            changed.signalAll();
            runWhenFree();
        } finally {
            lock.unlock();
        }
    }

    /** Runs the action once nothing is pinned: now, or in the thread that takes the last pin away. */
    void whenFree(Runnable action) {
        lock.lock();
        try {
            whenFree = action;
            runWhenFree();
        } finally {
            lock.unlock();
        }
    }

    private void runWhenFree() {
        if (whenFree != null && active.isEmpty()) {
            Runnable action = whenFree;
            whenFree = null;
            action.run();
        }
    }

    boolean isFree(long stamp) {
        Long oldest = active.ceiling(0L);
        return oldest == null || oldest > stamp;
    }

    /** Waits until a pin is gone; false when none went within the time. */
    boolean awaitChange(long stamp, long millis) {
        lock.lock();
        try {
            long left = TimeUnit.MILLISECONDS.toNanos(millis);
            while (!isFree(stamp) && left > 0) {
                left = changed.awaitNanos(left);
            }
            return isFree(stamp);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        } finally {
            lock.unlock();
        }
    }
}
