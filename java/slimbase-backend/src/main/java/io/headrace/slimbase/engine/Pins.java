package io.headrace.slimbase.engine;

import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BooleanSupplier;

/**
 * Who still reads memory. Pinned by the task thread, unpinned by any.
 *
 * <p>A plain pin keeps whatever is freed after it. A snapshot, which may be written for minutes, keeps segments one by one ({@link Segment#addReader}) and
 * lets go of each as soon as it has read it; here it only holds up the engine's end.
 */
final class Pins {
    private final ConcurrentSkipListSet<Long> active = new ConcurrentSkipListSet<>();
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    private final ConcurrentSkipListSet<Long> snapshots = new ConcurrentSkipListSet<>();
    private long last;
    private Runnable whenFree;

    long pin() {
        active.add(++last);
        return last;
    }

    long pinSnapshot() {
        snapshots.add(++last);
        return last;
    }

    /** Ends a snapshot, or says that it has let go of a segment. */
    void changed(long endedSnapshot) {
        lock.lock();
        try {
            snapshots.remove(endedSnapshot);
            changed.signalAll();
            runWhenFree();
        } finally {
            lock.unlock();
        }
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
        if (whenFree != null && active.isEmpty() && snapshots.isEmpty()) {
            Runnable action = whenFree;
            whenFree = null;
            action.run();
        }
    }

    boolean isFree(long stamp) {
        Long oldest = active.ceiling(0L);
        return oldest == null || oldest > stamp;
    }

    /** Waits until the condition holds, asked again whenever a pin or a snapshot's hold on a segment is gone; false when it did not in time. */
    boolean await(BooleanSupplier condition, long millis) {
        lock.lock();
        try {
            long left = TimeUnit.MILLISECONDS.toNanos(millis);
            while (!condition.getAsBoolean() && left > 0) {
                left = changed.awaitNanos(left);
            }
            return condition.getAsBoolean();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        } finally {
            lock.unlock();
        }
    }
}
