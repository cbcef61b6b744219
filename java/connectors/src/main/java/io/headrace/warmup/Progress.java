package io.headrace.warmup;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * How far the warm-up's job has come. One a process, since tasks find it by its class: source and job run in the process they warm.
 *
 * <p>The job counts as gone through when both of its lives, before and after the restart, have handled {@link #ROWS} rows and completed
 * a checkpoint.
 */
final class Progress {
    /** Rows of a life: enough for the methods of the row's way to be run by compiled code. */
    static final int ROWS = 2_000;

    private static volatile Progress current = new Progress();

    private final AtomicInteger firstRows = new AtomicInteger();
    private final AtomicInteger secondRows = new AtomicInteger();
    private final CountDownLatch restarted = new CountDownLatch(1);
    private final CountDownLatch done = new CountDownLatch(1);

    /** Forget the last job. */
    static Progress begin() {
        current = new Progress();
        return current;
    }

    static Progress current() {
        return current;
    }

    /** A row has passed all operators. */
    void row() {
        (restarted.getCount() > 0 ? firstRows : secondRows).incrementAndGet();
    }

    /**
     * A checkpoint has completed.
     *
     * @return whether the job is to fail now, so that it restarts
     */
    boolean checkpoint() {
        if (restarted.getCount() > 0) {
            if (firstRows.get() < ROWS) {
                return false;
            }
            restarted.countDown();
            return true;
        }
        if (secondRows.get() >= ROWS) {
            done.countDown();
        }
        return false;
    }

    boolean isDone() {
        return done.getCount() == 0;
    }
}
