package io.headrace.slimbase.cold;

import io.headrace.slimbase.file.RateLimiter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/**
 * How fast the files of one disk are merged: as all stores of the process that have files there want together; without limit while one of them has no time to
 * lose. Thread-safe.
 */
final class MergeLimiter {
    private static final Map<Object, MergeLimiter> DISKS = new ConcurrentHashMap<>();

    private final RateLimiter limiter = new RateLimiter(0, System::nanoTime, TimeUnit.NANOSECONDS::sleep);
    /** By store, bytes a second. */
    private final Map<Object, Double> wanted = new IdentityHashMap<>();

    private volatile double bytesPerS;

    /** That of the disk on which the directory is, or will be. */
    static MergeLimiter of(Path directory) {
        return DISKS.computeIfAbsent(disk(directory), ignored -> new MergeLimiter());
    }

    private static Object disk(Path directory) {
        Path existing = directory.toAbsolutePath();
        while (existing.getParent() != null && !Files.isDirectory(existing)) {
            existing = existing.getParent();
        }
        try {
            return Files.getFileStore(existing);
        } catch (IOException e) {
            // Then what is in one folder is taken to be on one disk.
            return existing;
        }
    }

    /** The store wants so many bytes a second, read and written; 0 when it ends. */
    synchronized void want(Object store, double rate) {
        if (rate > 0) {
            wanted.put(store, rate);
        } else {
            wanted.remove(store);
        }
        double sum = wanted.values().stream().mapToDouble(Double::doubleValue).sum();
        bytesPerS = Double.isInfinite(sum) ? 0 : sum;
        limiter.rate(bytesPerS);
    }

    RateLimiter limiter() {
        return limiter;
    }

    /** The limit, bytes a second; 0 when there is none now. */
    double bytesPerS() {
        return bytesPerS;
    }
}
