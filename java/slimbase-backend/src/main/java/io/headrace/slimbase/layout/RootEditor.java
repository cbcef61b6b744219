package io.headrace.slimbase.layout;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.engine.SlimEngine;

/** Builds and changes the root of a paged map: the directory of its pages and their separators. */
final class RootEditor implements AutoCloseable {
    /** A separator's length has 16 bits. */
    private static final int MAX_SEPARATOR = 0xFFFF;
    /** What a list of removed keys gets room for at once. */
    private static final int ROOM_KEYS = 8;

    private final SlimEngine engine;
    private final Scratch buffer = new Scratch(512);

    RootEditor(SlimEngine engine) {
        this.engine = engine;
    }

    long buffer() {
        return buffer.address();
    }

    /** A root of two pages, numbers 0 and 1, for the editor's run cut after `left` entries; returns its bytes. */
    int build(RunEditor run, int left) {
        long second = run.firstOfSecond(left);
        int separator = separatorLength(run, left, second);
        int bytes = MapFormat.PAGED_HEADER + 2 * MapFormat.DIRECTORY_ENTRY + separator;
        long to = buffer.ensure(bytes + 64L);
        header(to, 2, 2);
        int offset = MapFormat.PAGED_HEADER + 2 * MapFormat.DIRECTORY_ENTRY;
        entry(to, 0, 0, offset, 0);
        entry(to, 1, 1, offset, separator);
        Memory.copy(MapFormat.keyOf(second), to + offset, separator);
        return withRoom(to, bytes);
    }

    /**
     * The root with a page more, the right half of the editor's run; returns its bytes. The directory and the separators are copied in four
     * pieces, and then the offsets are moved, so that a page of a huge map costs about a nanosecond a page.
     */
    int withPage(long record, int index, RunEditor run, int left) {
        long root = Record.valueAddress(record);
        long second = run.firstOfSecond(left);
        int separator = separatorLength(run, left, second);
        int pages = MapFormat.pageCount(root);
        int number = MapFormat.nextPageNumber(root);
        int before = MapFormat.pagedRootBytes(root);
        int removed = MapFormat.removedBytes(root);
        int directoryBytes = before + MapFormat.DIRECTORY_ENTRY + separator;
        int bytes = directoryBytes + removed;
        int total = bytes <= Record.valueLength(record) ? Record.valueLength(record) : bytes + Math.max(64, bytes / 8);
        long to = buffer.ensure(total);
        header(to, pages + 1, number + 1);
        MapFormat.setRemovedBytes(to, removed);
        int firstSeparator = MapFormat.PAGED_HEADER + pages * MapFormat.DIRECTORY_ENTRY;
        int cut = index == pages ? before : (int) (MapFormat.separator(root, index) - root);
        long directory = MapFormat.PAGED_HEADER + (long) index * MapFormat.DIRECTORY_ENTRY;
        Memory.copy(root + MapFormat.PAGED_HEADER, to + MapFormat.PAGED_HEADER, directory - MapFormat.PAGED_HEADER);
        Memory.copy(root + directory, to + directory + MapFormat.DIRECTORY_ENTRY, firstSeparator - directory);
        long separators = to + firstSeparator + MapFormat.DIRECTORY_ENTRY;
        Memory.copy(root + firstSeparator, separators, cut - firstSeparator);
        Memory.copy(MapFormat.keyOf(second), separators + cut - firstSeparator, separator);
        Memory.copy(root + cut, separators + cut - firstSeparator + separator, before - cut);
        entry(to, index, number, cut + MapFormat.DIRECTORY_ENTRY, separator);
        moveOffsets(to, 0, index, MapFormat.DIRECTORY_ENTRY);
        moveOffsets(to, index + 1, pages + 1, MapFormat.DIRECTORY_ENTRY + separator);
        Memory.copy(root + before, to + directoryBytes, removed);
        Memory.zero(to + bytes, total - bytes);
        return total;
    }

    private static void moveOffsets(long to, int from, int until, int by) {
        long at = to + MapFormat.PAGED_HEADER + (long) from * MapFormat.DIRECTORY_ENTRY + 4;
        for (int i = from; i < until; i++, at += MapFormat.DIRECTORY_ENTRY) {
            Memory.putInt(at, Memory.getInt(at) + by);
        }
    }

    /** The root with a page less, and without the list of what has left that page if it is the first; returns its bytes. */
    int withoutPage(long root, int index) {
        int pages = MapFormat.pageCount(root);
        int before = MapFormat.pagedRootBytes(root);
        int removed = index == 0 ? 0 : MapFormat.removedBytes(root);
        long to = buffer.ensure(before + removed + (before + removed) / 4 + 64L);
        header(to, pages - 1, MapFormat.nextPageNumber(root));
        int offset = MapFormat.PAGED_HEADER + (pages - 1) * MapFormat.DIRECTORY_ENTRY;
        for (int from = 0, i = 0; from < pages; from++) {
            if (from != index) {
                offset = copyEntry(root, from, to, i, offset, i == 0);
                i++;
            }
        }
        MapFormat.setRemovedBytes(to, removed);
        Memory.copy(root + before, to + offset, removed);
        return withRoom(to, offset + removed);
    }

    /** The root with a user key more that has left the first page, and room for as many more as a small page has; returns its bytes. */
    int withRemoved(long record, long userKey, int userKeyLength) {
        long root = Record.valueAddress(record);
        int before = MapFormat.pagedRootBytes(root) + MapFormat.removedBytes(root);
        int more = VarInt.bytes(userKeyLength) + userKeyLength;
        int total = Math.max(Record.valueLength(record), before + more * ROOM_KEYS);
        long to = buffer.ensure(total);
        Memory.copy(root, to, before);
        addRemoved(to, before, userKey, userKeyLength);
        Memory.zero(to + before + more, total - before - more);
        return total;
    }

    /** Notes the key in a root that has the room; `used` are its bytes. */
    static void addRemoved(long root, int used, long userKey, int userKeyLength) {
        Memory.copy(userKey, VarInt.put(root + used, userKeyLength), userKeyLength);
        MapFormat.setRemovedBytes(root, MapFormat.removedBytes(root) + VarInt.bytes(userKeyLength) + userKeyLength);
    }

    /** The root without a list of removed keys; returns its bytes. */
    int withoutRemoved(long root) {
        int bytes = MapFormat.pagedRootBytes(root);
        long to = buffer.ensure(bytes + bytes / 8 + 8L);
        Memory.copy(root, to, bytes);
        MapFormat.setRemovedBytes(to, 0);
        return withRoom(to, bytes);
    }

    private static int copyEntry(long root, int from, long to, int index, int offset, boolean withoutSeparator) {
        int length = withoutSeparator ? 0 : MapFormat.separatorLength(root, from);
        entry(to, index, MapFormat.pageNumber(root, from), offset, length);
        Memory.copy(MapFormat.separator(root, from), to + offset, length);
        return offset + length;
    }

    private static void header(long to, int pages, int nextNumber) {
        Memory.putInt(to, 1);
        Memory.putInt(to + 4, 0);
        Memory.putInt(to + 8, pages);
        Memory.putInt(to + 12, nextNumber);
    }

    private static void entry(long to, int index, int number, int offset, int separatorLength) {
        long at = to + MapFormat.PAGED_HEADER + (long) index * MapFormat.DIRECTORY_ENTRY;
        Memory.putInt(at, number);
        Memory.putInt(at + 4, offset);
        Memory.putInt(at + 8, separatorLength);
    }

    private static int withRoom(long to, int bytes) {
        int room = bytes / 8 & ~7;
        Memory.zero(to + bytes, room);
        return bytes + room;
    }

    /** Whether a separator fits: keys that are the same for 64 KiB cannot be told apart by one. */
    static boolean canSeparate(RunEditor run, int left) {
        return separatorLength(run, left, run.firstOfSecond(left)) <= MAX_SEPARATOR;
    }

    /** As much of the second part's first key as tells it from the first part's last one. */
    private static int separatorLength(RunEditor run, int left, long second) {
        long last = run.lastOfFirst(left);
        int common = Math.min(MapFormat.keyLengthOf(last), MapFormat.keyLengthOf(second));
        int same = 0;
        while (same < common && Memory.getByte(MapFormat.keyOf(last) + same) == Memory.getByte(MapFormat.keyOf(second) + same)) {
            same++;
        }
        // When one key begins with the whole other one, the byte after it tells them apart.
        return Math.min(same + 1, MapFormat.keyLengthOf(second));
    }

    @Override
    public void close() {
        buffer.close();
    }
}
