package io.headrace.slimbase.layout;

import io.headrace.slimbase.engine.Memory;
import java.util.function.LongPredicate;

/**
 * Reads the values of map records (docs/concepts/slimbase-format.md, section Values by kind of state). Statics over raw memory, for any
 * thread that may read it.
 *
 * <p>A map is a small root with its entries, or a paged root that lists pages. Entries lie in the order of their user keys as unsigned
 * bytes. How many there are is counted; bytes after the last one are room to grow.
 */
public final class MapFormat {
    /** Bytes before the entries of a small root. */
    public static final int ROOT_HEADER = 8;
    /** Bytes before the directory of a paged root. */
    public static final int PAGED_HEADER = 16;
    /** Where a paged root says how long its list of removed keys is, u16. */
    private static final int REMOVED_AT = 2;
    /** Bytes before the entries of a page. */
    public static final int PAGE_HEADER = 8;
    /** Bytes of a page in the directory: number, offset of its separator, length of its separator, 0. */
    static final int DIRECTORY_ENTRY = 12;

    private MapFormat() {}

    /** Sees the entries in order; the value begins with the null flag, as RocksDB's. */
    @FunctionalInterface
    public interface EntryVisitor {
        void entry(long userKey, int userKeyLength, long value, int valueLength) throws Exception;
    }

    public static boolean isPaged(long root) {
        return Memory.getByte(root) != 0;
    }

    /** Entries of a small map or of a page. */
    public static int count(long smallRootOrPage) {
        return Memory.getInt(smallRootOrPage + 4);
    }

    public static int pageCount(long root) {
        return Memory.getInt(root + 8);
    }

    static int nextPageNumber(long root) {
        return Memory.getInt(root + 12);
    }

    private static long directory(long root, int index) {
        return root + PAGED_HEADER + (long) index * DIRECTORY_ENTRY;
    }

    /** The number of a page, pages taken in the order of their user keys. */
    public static int pageNumber(long root, int index) {
        return Memory.getInt(directory(root, index));
    }

    static long separator(long root, int index) {
        return root + Memory.getInt(directory(root, index) + 4);
    }

    static int separatorLength(long root, int index) {
        return Memory.getShort(directory(root, index) + 8) & 0xFFFF;
    }

    /**
     * Bytes of the list of user keys that have left the first page and are still in it: each a varint length and the key. It stands behind
     * the separators. Only maps of two pages at least have one, so that no map is empty.
     */
    static int removedBytes(long root) {
        return Memory.getShort(root + REMOVED_AT) & 0xFFFF;
    }

    static void setRemovedBytes(long root, int bytes) {
        Memory.putShort(root + REMOVED_AT, (short) bytes);
    }

    /** Whether the first page of a paged map has the user key no more, although it is in it. */
    public static boolean isRemoved(long root, long userKey, int userKeyLength) {
        int bytes = removedBytes(root);
        return bytes > 0 && isListed(root + pagedRootBytes(root), bytes, userKey, userKeyLength);
    }

    /** Whether a list of user keys has this one. */
    static boolean isListed(long list, int bytes, long userKey, int userKeyLength) {
        long at = list;
        while (at < list + bytes) {
            int length = VarInt.get(at);
            at += VarInt.length(at);
            if (length == userKeyLength && Memory.compare(at, length, userKey, userKeyLength) == 0) {
                return true;
            }
            at += length;
        }
        return false;
    }

    /** Bytes of a paged root that its directory and its separators take; the list of removed keys follows. */
    static int pagedRootBytes(long root) {
        int last = pageCount(root) - 1;
        return (int) (separator(root, last) - root) + separatorLength(root, last);
    }

    /** The page that holds the user key if any does: the last one whose separator is not greater. */
    static int pageOf(long root, long userKey, int userKeyLength) {
        int low = 0;
        int high = pageCount(root) - 1;
        while (low < high) {
            int middle = (low + high + 1) >>> 1;
            if (Memory.compare(separator(root, middle), separatorLength(root, middle), userKey, userKeyLength) <= 0) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        return low;
    }

    /** Visits `count` entries from the address on. */
    public static void entries(long first, int count, EntryVisitor visitor) throws Exception {
        long at = first;
        for (int i = 0; i < count; i++) {
            int keyLength = VarInt.get(at);
            at += VarInt.length(at);
            int valueLength = VarInt.get(at);
            at += VarInt.length(at);
            visitor.entry(at, keyLength, at + keyLength, valueLength);
            at += keyLength + valueLength;
        }
    }

    /** Whether any of the entries' values (at their null flag) passes. */
    public static boolean anyEntry(long first, int count, LongPredicate passes) {
        long at = first;
        for (int i = 0; i < count; i++) {
            if (passes.test(keyOf(at) + keyLengthOf(at))) {
                return true;
            }
            at = next(at);
        }
        return false;
    }

    /** The address after `count` entries. */
    static long skip(long first, int count) {
        long at = first;
        for (int i = 0; i < count; i++) {
            at = next(at);
        }
        return at;
    }

    /** The address after the entry. */
    static long next(long entry) {
        int keyLength = Memory.getByte(entry);
        int valueLength = Memory.getByte(entry + 1);
        if ((keyLength | valueLength) >= 0) {
            return entry + 2 + keyLength + valueLength;
        }
        long second = entry + VarInt.length(entry);
        return second + VarInt.length(second) + VarInt.get(entry) + VarInt.get(second);
    }

    static long keyOf(long entry) {
        if ((Memory.getByte(entry) | Memory.getByte(entry + 1)) >= 0) {
            return entry + 2;
        }
        long second = entry + VarInt.length(entry);
        return second + VarInt.length(second);
    }

    static int keyLengthOf(long entry) {
        return VarInt.get(entry);
    }

    static int valueLengthOf(long entry) {
        return VarInt.get(entry + VarInt.length(entry));
    }

    static int entryBytes(int keyLength, int valueLength) {
        return VarInt.bytes(keyLength) + VarInt.bytes(valueLength) + keyLength + valueLength;
    }

    /** Writes an entry; returns the address after it. */
    static long write(long at, long userKey, int keyLength, long value, int valueLength) {
        long cursor = VarInt.put(VarInt.put(at, keyLength), valueLength);
        Memory.copy(userKey, cursor, keyLength);
        Memory.copy(value, cursor + keyLength, valueLength);
        return cursor + keyLength + valueLength;
    }
}
