package io.headrace.slimbase.snapshot;

import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** Threads that fetch files while a backend is restored; they are gone when this is closed. */
final class RestoreTransfers implements AutoCloseable {
    /** How long a thread gets to leave a read that was interrupted; it holds no memory of ours. */
    private static final long PATIENCE_S = 10;

    private final ExecutorService pool =
            Executors.newFixedThreadPool(
                    Transfers.THREADS,
                    task -> {
                        Thread thread = new Thread(task, "slimbase-restore");
                        thread.setDaemon(true);
                        return thread;
                    });

    <T> Future<T> submit(Callable<T> fetcher) {
        return pool.submit(fetcher);
    }

    @Override
    public void close() throws InterruptedException {
        pool.shutdownNow();
        pool.awaitTermination(PATIENCE_S, TimeUnit.SECONDS);
    }
}
