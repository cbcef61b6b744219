package io.headrace.slimbase.engine;

/**
 * Goes through the records that a key group had when the cursor was made. The caller may write meanwhile: a record is looked up again
 * before it is handed out, and skipped when it is gone. Close it, or memory stays pinned.
 */
public final class RecordCursor implements AutoCloseable {
    private final SlimEngine engine;
    private final int keyGroup;
    private final long[] addresses;
    private final Runnable unpin;
    /** Keys that only files had: u32 identity, u32 length, key bytes, padded to 8. */
    private long coldKeys;

    private long coldBytes;
    private long coldCapacity;
    private long coldNext;
    private int next;

    RecordCursor(SlimEngine engine, int keyGroup, long[] addresses, Runnable unpin) {
        this.engine = engine;
        this.keyGroup = keyGroup;
        this.addresses = addresses;
        this.unpin = unpin;
    }

    /** Notes a key that only files have. */
    void addCold(long record) {
        int keyLength = Record.keyLength(record);
        long size = Record.align8(8L + keyLength);
        if (coldBytes + size > coldCapacity) {
            coldCapacity = Math.max(4096, (coldBytes + size) * 2);
            coldKeys = coldKeys == 0 ? Memory.allocate(coldCapacity) : Memory.reallocate(coldKeys, coldCapacity);
        }
        long at = coldKeys + coldBytes;
        Memory.putInt(at, Record.identity(record));
        Memory.putInt(at + 4, keyLength);
        Memory.copy(Record.keyAddress(record), at + 8, keyLength);
        coldBytes += size;
    }

    /** The next record's address, or 0 at the end. */
    public long next() {
        while (next < addresses.length) {
            long then = addresses[next++];
            long now = engine.find(keyGroup, Record.identity(then), Record.keyAddress(then), Record.keyLength(then));
            if (now != 0) {
                return now;
            }
        }
        while (coldNext < coldBytes) {
            long at = coldKeys + coldNext;
            int keyLength = Memory.getInt(at + 4);
            coldNext += Record.align8(8L + keyLength);
            long now = engine.find(keyGroup, Memory.getInt(at), at + 8, keyLength);
            if (now != 0) {
                return now;
            }
        }
        return 0;
    }

    @Override
    public void close() {
        unpin.run();
        if (coldKeys != 0) {
            Memory.free(coldKeys);
            coldKeys = 0;
            coldBytes = 0;
        }
    }
}
