package io.headrace.slimbase.nativelib;

import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * A few chunks whose pages a background thread has asked the machine for already.
 *
 * <p>The first touch of a huge page makes the kernel (and below it the hypervisor) find and zero 2 MiB: 3 to 6 ms measured on a virtual machine, in
 * the middle of a record. Whoever takes a spare leaves that to the thread, which begins when the first chunk is asked for and gives what is
 * left back when nobody has asked for a while, so an idle process keeps nothing. Spares, {@link #KEPT} at most, are kept only while the budget of whoever
 * asked last has room for all of them: with them the process holds no more than its budgets allow.
 */
final class SpareChunks {
    static final long BYTES = 4 << 20;
    static final int KEPT = 2;
    private static final long HUGE_PAGE = 2 << 20;
    private static final long IDLE_S = 5;

    private final ArrayBlockingQueue<Long> ready = new ArrayBlockingQueue<>(KEPT);
    private final ArrayBlockingQueue<Boolean> wanted = new ArrayBlockingQueue<>(KEPT);
    private boolean running;
    private volatile boolean allowed;

    /** A prefaulted chunk, or 0 when none is ready. More are prepared when the asker's budget has room for them, else what is left is given back. */
    long take(long roomBytes) {
        Long address = ready.poll();
        allowed = roomBytes >= KEPT * BYTES;
        if (allowed) {
            request();
        } else {
            giveBack();
        }
        return address == null ? 0 : address;
    }

    /** How many are ready. */
    int count() {
        return ready.size();
    }

    private void giveBack() {
        wanted.clear();
        for (Long address = ready.poll(); address != null; address = ready.poll()) {
            NativeSlim.free(address, BYTES);
        }
    }

    private synchronized void request() {
        wanted.offer(true);
        if (!running) {
            running = true;
            Thread thread = new Thread(this::prepare, "slimbase-spare-chunks");
            thread.setDaemon(true);
            thread.start();
        }
    }

    private void prepare() {
        try {
            while (true) {
                if (wanted.poll(IDLE_S, TimeUnit.SECONDS) != null) {
                    fill();
                } else if (endIfIdle()) {
                    return;
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            end();
        }
    }

    private void fill() {
        while (allowed && ready.remainingCapacity() > 0) {
            long address = NativeSlim.alloc(BYTES, true);
            if (address == 0) {
                return; // whoever needs one will hear it from the machine
            }
            // Page by page: the kernel lets nobody else map memory meanwhile.
            for (long offset = 0; offset < BYTES; offset += HUGE_PAGE) {
                NativeSlim.prefault(address + offset, HUGE_PAGE);
            }
            if (!allowed || !ready.offer(address)) {
                NativeSlim.free(address, BYTES);
            }
        }
        if (!allowed) {
            giveBack(); // it was refused between the question above and the offer
        }
    }

    private synchronized boolean endIfIdle() {
        if (!wanted.isEmpty()) {
            return false;
        }
        end();
        return true;
    }

    private synchronized void end() {
        running = false;
        giveBack();
    }
}
