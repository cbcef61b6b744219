package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.Memory;

/** Takes one entry of a raw block apart. Every length is checked before it is used. */
final class EntryParser {
    /** State id times two, plus one for an auxiliary record. */
    int identity;
    /** Tombstone and chained; AUX is in the identity. */
    int flags;

    long key;
    int keyLength;
    int valueLength;
    /** Where the next entry begins. */
    long next;

    private long at;
    private long end;

    long value() {
        return key + keyLength;
    }

    /** False when what is there is no entry that ends before {@code blockEnd}. */
    boolean parse(long from, long blockEnd) {
        at = from;
        end = blockEnd;
        if (from >= blockEnd) {
            return false;
        }
        int header = Memory.getByte(at++) & 0xFF;
        int stateId = varInt();
        keyLength = varInt();
        valueLength = varInt();
        boolean fits =
                (header & ~FileFormat.ENTRY_FLAGS) == 0
                        && stateId >= 0
                        && stateId < FileFormat.IDENTITY_LIMIT >>> 1
                        && keyLength >= 0
                        && valueLength >= 0
                        && (long) keyLength + valueLength <= end - at
                        && ((header & FileFormat.ENTRY_TOMBSTONE) == 0 || valueLength == 0);
        identity = stateId << 1 | (header & FileFormat.ENTRY_AUX) >>> 2;
        flags = header & (FileFormat.ENTRY_TOMBSTONE | FileFormat.ENTRY_CHAINED);
        key = at;
        next = at + keyLength + valueLength;
        return fits;
    }

    /** -1 when it does not end within the block or is out of range. */
    private int varInt() {
        if (at < end) {
            int first = Memory.getByte(at);
            if (first >= 0) {
                at++;
                return first;
            }
        }
        return longVarInt();
    }

    private int longVarInt() {
        int value = 0;
        for (int shift = 0; shift < 35 && at < end; shift += 7) {
            int next = Memory.getByte(at++);
            value |= (next & 0x7F) << shift;
            if (next >= 0) {
                return value < 0 ? -1 : value;
            }
        }
        return -1;
    }
}
