package io.headrace.slimbase.file;

import java.util.function.LongSupplier;

/**
 * Spreads work over time, so that background reading and writing leaves the disk to those who wait for it. Thread-safe; shared by all that work on one
 * disk.
 *
 * <p>Who was let through pays afterwards: the next one waits until the bytes before it are worked off. Time without work is not saved up.
 */
public final class RateLimiter {
    /** Waits; an argument, so that tests move the clock by hand. */
    public interface Sleeper {
        void sleep(long nanoseconds) throws InterruptedException;

        /** The clock that the waiting moves on: nanoseconds, as {@link System#nanoTime}. */
        default long now() {
            return System.nanoTime();
        }
    }

    private static final double NANOSECONDS_PER_S = 1e9;

    private final LongSupplier clock;
    private final Sleeper sleeper;
    private volatile double bytesPerS;
    private long freeAt;

    /**
     * Of so many bytes a second; 0 or less means no limit.
     *
     * @param clock nanoseconds, as {@link System#nanoTime}
     */
    public RateLimiter(double bytesPerS, LongSupplier clock, Sleeper sleeper) {
        this.bytesPerS = bytesPerS;
        this.clock = clock;
        this.sleeper = sleeper;
        this.freeAt = clock.getAsLong();
    }

    /** Changes the rate from the next bytes on. */
    public void rate(double wanted) {
        bytesPerS = wanted;
    }

    /** Waits until what was let through before is worked off. */
    public void acquire(long bytes) throws InterruptedException {
        double rate = bytesPerS;
        if (rate <= 0) {
            return;
        }
        long wait;
        synchronized (this) {
            long now = clock.getAsLong();
            wait = Math.max(0, freeAt - now);
            freeAt = now + wait + (long) (bytes * NANOSECONDS_PER_S / rate);
        }
        if (wait > 0) {
            sleeper.sleep(wait);
        }
    }
}
