package io.headrace.slimbase.nativelib;

import java.util.ArrayDeque;

/**
 * A few chunks whose pages a background thread has asked the machine for already.
 *
 * <p>The first touch of a huge page makes the kernel (and below it the hypervisor) find and zero 2 MiB: 4 to 5 ms measured on a virtual machine, in
 * the middle of a record. Whoever takes a spare leaves that to the thread, which begins when the first chunk is asked for or expected and gives what is
 * left back when nobody has asked for a while, so an idle process keeps nothing.
 *
 * <p>{@link #FIRST_KEPT} spares are enough for a log. Index nodes are split nearly together, all within a hundredth of the records, and want many chunks at once;
 * whoever takes the last one therefore doubles the number, up to {@link #MOST_KEPT}, until the process is idle. No more are kept than the budget of whoever asked
 * last has room for: with them the process holds no more than its budgets allow.
 */
final class SpareChunks {
    static final long BYTES = 4 << 20;
    static final int FIRST_KEPT = 2;
    /** 32 MiB: what the thread prepares in some 70 ms, and half of what the nodes of 27 M records want in the 0.3 s in which they are split. */
    static final int MOST_KEPT = 8;

    private static final long HUGE_PAGE = 2 << 20;
    private static final long IDLE_NS = 5_000_000_000L;

    private final ArrayDeque<Long> ready = new ArrayDeque<>();
    private boolean wanted;
    private boolean running;
    /** How many are worth keeping now; a taker that leaves none doubles it. */
    private int kept = FIRST_KEPT;
    /** How many the budget has room for, at most {@link #kept}. */
    private int allowed;

    /** A prefaulted chunk, or 0 when none is ready; as many more are prepared as the asker's budget has room for, and what is beyond is given back. */
    synchronized long take(long roomBytes) {
        Long address = ready.poll();
        if (ready.isEmpty() && running) {
            kept = Math.min(MOST_KEPT, 2 * kept);
        }
        expect(roomBytes);
        return address == null ? 0 : address;
    }

    /** Prepares spares, because chunks will be asked for soon. */
    synchronized void expect(long roomBytes) {
        allowed = (int) Math.min(kept, Math.max(0, roomBytes) / BYTES);
        giveBackBeyond(allowed);
        if (ready.size() < allowed) {
            request();
        }
    }

    /** How many are ready. */
    synchronized int count() {
        return ready.size();
    }

    private void giveBackBeyond(int most) {
        while (ready.size() > most) {
            NativeSlim.free(ready.poll(), BYTES);
        }
    }

    private void request() {
        wanted = true;
        notifyAll();
        if (!running) {
            running = true;
            Thread thread = new Thread(this::prepare, "slimbase-spare-chunks");
            thread.setDaemon(true);
            thread.start();
        }
    }

    private void prepare() {
        try {
            while (awaitWanted()) {
                while (fillOne()) {}
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            end();
        }
    }

    /** False, and the thread's end, when nobody has asked for a while. */
    private synchronized boolean awaitWanted() throws InterruptedException {
        long idleEnd = System.nanoTime() + IDLE_NS;
        while (!wanted) {
            long leftMs = (idleEnd - System.nanoTime()) / 1_000_000;
            if (leftMs <= 0) {
                end();
                return false;
            }
            wait(leftMs);
        }
        wanted = false;
        return true;
    }

    /** Prepares one outside of the lock; false when there are enough. */
    private boolean fillOne() {
        synchronized (this) {
            if (ready.size() >= allowed) {
                return false;
            }
        }
        long address = NativeSlim.alloc(BYTES, true);
        if (address == 0) {
            return false; // whoever needs one will hear it from the machine
        }
        for (long offset = 0; offset < BYTES; offset += HUGE_PAGE) {
            NativeSlim.prefault(address + offset, HUGE_PAGE);
        }
        synchronized (this) {
            ready.add(address);
            giveBackBeyond(allowed); // less may have been allowed meanwhile
        }
        return true;
    }

    private synchronized void end() {
        running = false;
        kept = FIRST_KEPT;
        giveBackBeyond(0);
    }
}
