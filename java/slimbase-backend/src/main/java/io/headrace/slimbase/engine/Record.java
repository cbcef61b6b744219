package io.headrace.slimbase.engine;

/**
 * Reads and writes one record at a memory address. The layout stands in docs/concepts/slimbase-format.md, section Record.
 */
public final class Record {
    public static final int DEAD = 1 << 25;
    public static final int TOMBSTONE = 1 << 26;
    public static final int CHAINED = 1 << 27;
    public static final int LARGE = 1 << 28;
    public static final int HAS_PREV = 1 << 29;
    public static final int AUX = 1 << 30;

    static final int IDENTITY_MASK = 0x01FF_FFFF | AUX;
    /** Identity and key length of a record that is not LARGE, as one comparison. */
    static final long MATCH_MASK = 0x0000_FFFF_0000_0000L | IDENTITY_MASK | LARGE;

    static final int SHORT_LIMIT = 0xFFFF;

    private Record() {}

    static int header(int keyGroup, int identity) {
        return keyGroup | identity >>> 1 << 15 | (identity & 1) << 30;
    }

    public static int flags(long record) {
        return Memory.getInt(record);
    }

    public static boolean has(long record, int flag) {
        return (Memory.getInt(record) & flag) != 0;
    }

    static void addFlag(long record, int flag) {
        Memory.putInt(record, Memory.getInt(record) | flag);
    }

    public static int keyGroup(long record) {
        return Memory.getInt(record) & 0x7FFF;
    }

    public static int stateId(long record) {
        return Memory.getInt(record) >>> 15 & 0x3FF;
    }

    /** State id times two, plus one for an auxiliary record. */
    public static int identity(long record) {
        int header = Memory.getInt(record);
        return (header >>> 15 & 0x3FF) << 1 | header >>> 30 & 1;
    }

    public static long keyAddress(long record) {
        int header = Memory.getInt(record);
        return record + 8 + ((header & LARGE) >>> 25) + ((header & CHAINED) >>> 24);
    }

    public static int keyLength(long record) {
        return has(record, LARGE) ? Memory.getInt(record + 8) : Memory.getShort(record + 4) & 0xFFFF;
    }

    public static long valueAddress(long record) {
        return keyAddress(record) + keyLength(record);
    }

    public static int valueLength(long record) {
        return has(record, LARGE) ? Memory.getInt(record + 12) : Memory.getShort(record + 6) & 0xFFFF;
    }

    /** Logical address of what a chained record continues; 0 when there is none. */
    public static long previous(long record) {
        return has(record, CHAINED) ? Memory.getLong(record + 8 + ((Memory.getInt(record) & LARGE) >>> 25)) : 0;
    }

    /** Cuts the chain before a chained record: what it continues is in a file now. */
    static void forgetPrevious(long record) {
        Memory.putLong(record + 8 + ((Memory.getInt(record) & LARGE) >>> 25), 0);
    }

    /** Bytes in the log, with padding. */
    public static long size(long record) {
        int header = Memory.getInt(record);
        long fixed = 8L + ((header & LARGE) >>> 25) + ((header & CHAINED) >>> 24);
        return align8(fixed + keyLength(record) + valueLength(record));
    }

    static long sizeOf(boolean chained, int keyLength, int valueLength) {
        boolean large = keyLength > SHORT_LIMIT || valueLength > SHORT_LIMIT;
        return align8(8L + (large ? 8 : 0) + (chained ? 8 : 0) + keyLength + valueLength);
    }

    static long align8(long bytes) {
        return bytes + 7 & ~7L;
    }

    /** Writes all but the value; returns the value's address. */
    static long write(long at, int header, long previous, long key, int keyLength, int valueLength) {
        boolean large = keyLength > SHORT_LIMIT || valueLength > SHORT_LIMIT;
        long cursor = at + 8;
        if (large) {
            Memory.putLong(at, (header | LARGE) & 0xFFFF_FFFFL);
            Memory.putInt(cursor, keyLength);
            Memory.putInt(cursor + 4, valueLength);
            cursor += 8;
        } else {
            Memory.putLong(at, header & 0xFFFF_FFFFL | (long) keyLength << 32 | (long) valueLength << 48);
        }
        if ((header & CHAINED) != 0) {
            Memory.putLong(cursor, previous);
            cursor += 8;
        }
        Memory.copy(key, cursor, keyLength);
        return cursor + keyLength;
    }

    /** Changes the value's length in place; the caller has made sure that the size stays the same. */
    static void setValueLength(long record, int valueLength) {
        if (has(record, LARGE)) {
            Memory.putInt(record + 12, valueLength);
        } else {
            Memory.putShort(record + 6, (short) valueLength);
        }
    }
}
