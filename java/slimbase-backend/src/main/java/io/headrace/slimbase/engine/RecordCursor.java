package io.headrace.slimbase.engine;

/**
 * Goes through the records that a key group had when the cursor was made. The caller may write meanwhile: a record is looked up again
 * before it is handed out, and skipped when it is gone. Close it, or memory stays pinned.
 */
public final class RecordCursor implements AutoCloseable {
    private final SlimEngine engine;
    private final long[] slots;
    private final long[] addresses;
    private final Runnable unpin;
    private int next;

    RecordCursor(SlimEngine engine, long[] slots, long[] addresses, Runnable unpin) {
        this.engine = engine;
        this.slots = slots;
        this.addresses = addresses;
        this.unpin = unpin;
    }

    /** The next record's address, or 0 at the end. */
    public long next() {
        while (next < slots.length) {
            long then = addresses[next++];
            long now =
                    engine.find(
                            Record.keyGroup(then), Record.identity(then), Record.keyAddress(then), Record.keyLength(then));
            if (now != 0) {
                return now;
            }
        }
        return 0;
    }

    @Override
    public void close() {
        unpin.run();
    }
}
