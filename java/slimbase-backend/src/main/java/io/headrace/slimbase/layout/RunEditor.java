package io.headrace.slimbase.layout;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.engine.SlimEngine;

/**
 * Changes one run of entries, i.e. a small root's or a page's value: in place where the record may be changed and has room, else as a new
 * value in a buffer. The steps: {@link #want}, {@link #seek}, then one of the changes.
 */
final class RunEditor implements AutoCloseable {
    private static final int HEADER = MapFormat.ROOT_HEADER;

    private final SlimEngine engine;
    private final Scratch buffer = new Scratch(2048);
    private final Scratch part = new Scratch(2048);

    private long userKey;
    private int userKeyLength;
    private long value;
    private int valueLength;

    private long run;
    private int count;
    /** Offsets from the run's start: where the entry is or belongs, where the old one ends, where the last one ends. */
    private int at;
    private int atEnd;
    private int used;
    private boolean matched;
    private int atIndex;
    private int partLength;
    private int capacity;

    RunEditor(SlimEngine engine) {
        this.engine = engine;
    }

    void want(long key, int keyLength, long newValue, int newValueLength) {
        userKey = key;
        userKeyLength = keyLength;
        value = newValue;
        valueLength = newValueLength;
    }

    /** The entry of the user key, or 0. */
    static long search(long run, long userKey, int userKeyLength) {
        int count = MapFormat.count(run);
        long entry = run + HEADER;
        for (int i = 0; i < count; i++) {
            int order = Memory.compare(MapFormat.keyOf(entry), MapFormat.keyLengthOf(entry), userKey, userKeyLength);
            if (order >= 0) {
                return order == 0 ? entry : 0;
            }
            entry = MapFormat.next(entry);
        }
        return 0;
    }

    /** Finds the place of the wanted entry in the record that the engine found last. */
    void seek(long record) {
        run = Record.valueAddress(record);
        capacity = Record.valueLength(record);
        count = MapFormat.count(run);
        matched = false;
        long entry = run + HEADER;
        int index = 0;
        for (; index < count; index++) {
            int order = Memory.compare(MapFormat.keyOf(entry), MapFormat.keyLengthOf(entry), userKey, userKeyLength);
            if (order >= 0) {
                matched = order == 0;
                break;
            }
            entry = MapFormat.next(entry);
        }
        at = (int) (entry - run);
        atIndex = index;
        long after = matched ? MapFormat.next(entry) : entry;
        atEnd = (int) (after - run);
        used = -1;
    }

    boolean matched() {
        return matched;
    }

    private int used() {
        if (used < 0) {
            used = (int) (MapFormat.skip(run + atEnd, count - atIndex - (matched ? 1 : 0)) - run);
        }
        return used;
    }

    private int entryBytes() {
        return MapFormat.entryBytes(userKeyLength, valueLength);
    }

    /** Entries' bytes after the change. */
    int newBytes() {
        return used() - HEADER - (atEnd - at) + entryBytes();
    }

    int newCount() {
        return matched ? count : count + 1;
    }

    /** Puts the entry where it belongs if the record is open to change and large enough. */
    boolean putInPlace(long record) {
        if (!engine.isCurrentEpoch(record)) {
            return false;
        }
        int bytes = entryBytes();
        if (matched && bytes == atEnd - at) {
            MapFormat.write(run + at, userKey, userKeyLength, value, valueLength);
            return true;
        }
        if (HEADER + newBytes() > capacity) {
            return false;
        }
        Memory.copy(run + atEnd, run + at + bytes, used - atEnd);
        MapFormat.write(run + at, userKey, userKeyLength, value, valueLength);
        Memory.putInt(run + 4, newCount());
        return true;
    }

    boolean removeInPlace(long record) {
        int left = used() - (atEnd - at);
        boolean tooEmpty = capacity > 256 && left < capacity / 4;
        if (tooEmpty || !engine.isCurrentEpoch(record)) {
            return false;
        }
        Memory.copy(run + atEnd, run + at, used - atEnd);
        Memory.zero(run + left, used - left);
        Memory.putInt(run + 4, count - 1);
        return true;
    }

    /** A run of the wanted entry alone, in the buffer; returns its bytes. */
    int single() {
        int bytes = HEADER + entryBytes();
        long to = buffer.ensure(bytes);
        Memory.putLong(to, 1L << 32);
        MapFormat.write(to + HEADER, userKey, userKeyLength, value, valueLength);
        count = 0;
        matched = false;
        return bytes;
    }

    /** The changed run in the buffer, with room to grow by a share of 1/`share`; returns the bytes of the record's value. */
    int rebuild(int share) {
        return rebuild(share, 0);
    }

    /** The same with room for that many bytes of entries at least. */
    int rebuild(int share, int expected) {
        int bytes = HEADER + newBytes();
        int room = matched ? 0 : Math.max(entryBytes(), bytes / share);
        int total = Math.max(bytes + room, matched && bytes <= capacity ? capacity : HEADER + expected);
        long to = buffer.ensure(total + 8L);
        Memory.putLong(to, (long) newCount() << 32);
        Memory.copy(run + HEADER, to + HEADER, at - HEADER);
        long after = MapFormat.write(to + at, userKey, userKeyLength, value, valueLength);
        Memory.copy(run + atEnd, after, used - atEnd);
        Memory.zero(to + bytes, total - bytes);
        return total;
    }

    int rebuildWithout() {
        int bytes = used() - (atEnd - at);
        long to = buffer.ensure(bytes + 8L);
        Memory.putLong(to, (long) (count - 1) << 32);
        Memory.copy(run + HEADER, to + HEADER, at - HEADER);
        Memory.copy(run + atEnd, to + at, used - atEnd);
        return bytes;
    }

    /** The record's run without the listed keys in the buffer; returns its bytes, 0 when nothing is left. */
    int copyWithout(long record, long list, int listBytes) {
        long from = Record.valueAddress(record);
        long to = buffer.ensure(Record.valueLength(record));
        long entry = from + HEADER;
        long end = to + HEADER;
        int left = 0;
        for (int i = MapFormat.count(from); i > 0; i--) {
            long next = MapFormat.next(entry);
            if (!MapFormat.isListed(list, listBytes, MapFormat.keyOf(entry), MapFormat.keyLengthOf(entry))) {
                Memory.copy(entry, end, next - entry);
                end += next - entry;
                left++;
            }
            entry = next;
        }
        Memory.putLong(to, (long) left << 32);
        return left == 0 ? 0 : (int) (end - to);
    }

    /** The record's run in the buffer; returns its bytes without room to grow. */
    int copy(long record) {
        long from = Record.valueAddress(record);
        int entries = MapFormat.count(from);
        int bytes = (int) (MapFormat.skip(from + HEADER, entries) - from);
        long to = buffer.ensure(bytes);
        Memory.putLong(to, (long) entries << 32);
        Memory.copy(from + HEADER, to + HEADER, bytes - HEADER);
        return bytes;
    }

    long buffer() {
        return buffer.address();
    }

    /** Whether the entry is put behind all that there are. */
    boolean appends() {
        return !matched && atIndex == count;
    }

    /** How many entries of the rebuilt run stay on the left when it is cut: all but the last if that was put at the end of all. */
    int splitPoint(boolean lastPage) {
        int entries = newCount();
        if (lastPage && appends()) {
            return entries - 1;
        }
        long start = buffer.address() + HEADER;
        long half = start + newBytesOf(start, entries) / 2;
        long entry = start;
        int left = 0;
        while (left < entries - 1 && (left == 0 || entry < half)) {
            entry = MapFormat.next(entry);
            left++;
        }
        return left;
    }

    private static long newBytesOf(long start, int entries) {
        return MapFormat.skip(start, entries) - start;
    }

    /** What stays on the left; it keeps the record's length where it can, so that it stays in its place. */
    long firstPart(int left) {
        return cut(buffer.address() + HEADER, left, capacity);
    }

    /** What goes to the right, with room for as much again, and for that many bytes of entries at least. */
    long secondPart(int left, int expected) {
        return cut(firstOfSecond(left), newCount() - left, expected == 0 ? 0 : HEADER + expected);
    }

    long firstOfSecond(int left) {
        return MapFormat.skip(buffer.address() + HEADER, left);
    }

    /** The last entry of the first part. */
    long lastOfFirst(int left) {
        return MapFormat.skip(buffer.address() + HEADER, left - 1);
    }

    private long cut(long from, int entries, int wanted) {
        int bytes = HEADER + (int) newBytesOf(from, entries);
        int room = Math.min(Math.max(bytes, 256), MapPages.SMALL_LIMIT);
        partLength = bytes <= wanted ? wanted : bytes + room;
        long to = part.ensure(partLength);
        Memory.putLong(to, (long) entries << 32);
        Memory.copy(from, to + HEADER, bytes - HEADER);
        Memory.zero(to + bytes, partLength - bytes);
        return to;
    }

    /** Bytes of what {@link #firstPart} or {@link #secondPart} built last. */
    int partLength() {
        return partLength;
    }

    @Override
    public void close() {
        buffer.close();
        part.close();
    }
}
