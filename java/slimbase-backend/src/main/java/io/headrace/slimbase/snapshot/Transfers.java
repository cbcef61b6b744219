package io.headrace.slimbase.snapshot;

import java.io.Closeable;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** A few threads that move files; they end by themselves when idle. */
final class Transfers implements Closeable {
    /** As many as RocksDB's default `state.backend.rocksdb.checkpoint.transfer.thread.num`. */
    static final int THREADS = 4;

    private static final long IDLE_SECONDS = 10;

    private final ThreadPoolExecutor pool;

    Transfers() {
        AtomicInteger next = new AtomicInteger();
        pool =
                new ThreadPoolExecutor(
                        THREADS,
                        THREADS,
                        IDLE_SECONDS,
                        TimeUnit.SECONDS,
                        new LinkedBlockingQueue<>(),
                        task -> {
                            Thread thread = new Thread(task, "slimbase-transfer-" + next.getAndIncrement());
                            thread.setDaemon(true);
                            return thread;
                        });
        pool.allowCoreThreadTimeOut(true);
    }

    <T> Future<T> submit(Callable<T> task) {
        return pool.submit(task);
    }

    /**
     * Runs all tasks and returns their results in order. After a failure those that have not begun are left out. In any case nothing runs any more
     * when this returns or throws, because tasks read memory that their caller is about to give back.
     */
    <T> List<T> runAll(List<? extends Callable<T>> tasks) throws Exception {
        List<Future<T>> futures = new ArrayList<>(tasks.size());
        Exception failure = null;
        try {
            for (Callable<T> task : tasks) {
                futures.add(pool.submit(task));
            }
        } catch (RejectedExecutionException e) {
            failure = new IOException("backend was closed while its files were moved", e);
            cancelPending(futures, 0);
        }
        List<T> results = new ArrayList<>(tasks.size());
        boolean interrupted = false;
        for (int i = 0; i < futures.size(); i++) {
            Future<T> future = futures.get(i);
            try {
                results.add(future.get());
            } catch (ExecutionException e) {
                failure = failure == null ? unwrap(e) : failure;
                cancelPending(futures, i + 1);
            } catch (CancellationException e) {
                assert failure != null || interrupted : "cancelled without a failure";
            } catch (InterruptedException e) {
                interrupted = true;
                cancelPending(futures, i);
                i--;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
            throw new InterruptedException("interrupted while files were moved");
        }
        if (failure != null) {
            throw failure;
        }
        return results;
    }

    private static Exception unwrap(ExecutionException e) {
        Throwable cause = e.getCause();
        if (cause instanceof Error) {
            throw (Error) cause;
        }
        return (Exception) cause;
    }

    /** Takes those that have not begun from the queue; one that runs goes on and is waited for. */
    private <T> void cancelPending(List<Future<T>> futures, int from) {
        for (int i = from; i < futures.size(); i++) {
            Future<T> future = futures.get(i);
            if (future instanceof Runnable && pool.remove((Runnable) future)) {
                future.cancel(false);
            }
        }
    }

    /** Nothing new is begun. */
    @Override
    public void close() {
        pool.shutdown();
    }
}
