package io.headrace.slimbase;

import io.headrace.slimbase.engine.SlimBaseException;
import java.util.Queue;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Questions of other threads (queryable state). The engine belongs to the task thread, so a question waits until that thread sets its next
 * key and answers it there; the task thread's own questions are answered at once.
 */
final class Queries {
    /** An idle task sets no key and so answers nothing; the caller is told then. */
    private static final long WAIT_MS = 5_000;

    private final Thread owner = Thread.currentThread();
    private final Queue<FutureTask<?>> waiting = new ConcurrentLinkedQueue<>();
    private volatile boolean pending;

    /** Asks and waits for the answer. */
    <T> T ask(Callable<T> question) throws Exception {
        if (Thread.currentThread() == owner) {
            return question.call();
        }
        FutureTask<T> task = new FutureTask<>(question);
        waiting.add(task);
        pending = true;
        try {
            return task.get(WAIT_MS, TimeUnit.MILLISECONDS);
        } catch (TimeoutException e) {
            task.cancel(false);
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unavailable,
                    "state did not answer the query, waited_ms=" + WAIT_MS,
                    "ask again while the operator receives records",
                    e);
        } catch (ExecutionException e) {
            if (e.getCause() instanceof Exception) {
                throw (Exception) e.getCause();
            }
            throw e;
        }
    }

    /** Whether somebody waits. */
    boolean isPending() {
        return pending;
    }

    /** Answers whoever waits; task thread. */
    void answer() {
        pending = false;
        for (FutureTask<?> task = waiting.poll(); task != null; task = waiting.poll()) {
            task.run();
        }
    }
}
