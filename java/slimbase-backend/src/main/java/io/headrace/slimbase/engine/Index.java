package io.headrace.slimbase.engine;

/**
 * The hash index: one table per key group, nodes of up to 8,192 slots, extendible hashing above. docs/concepts/slimbase-format.md, section Index.
 *
 * <p>A lookup touches the key-group table (small, hot), a slot and the record. No step of growth moves more than one node.
 */
final class Index {
    static final int MAX_CODE = 10;
    static final int MAX_DEPTH = 11;
    static final int HEADER = 64;
    /** At most, by the rule of growth: a slot has 8 bytes, and of a node's slots at least half of 13/16 are taken; rounded up for headers and directories. */
    static final long BYTES_PER_RECORD = 24;
    private static final int DIRECTORY = 32;
    private static final int TAG_BITS = 24;

    private final int keyGroupCount;
    private final Nodes nodes;
    private final Chunks chunks;
    /** Native u64 per key group. */
    final long table;
    /** Address of a slot that is none: empty, and never written. */
    final long nowhere = Memory.allocate(8);
    /** Address of the slot that the last find saw: the record's, else that of the key's tombstone, else {@link #nowhere}. */
    long foundSlot;

    Index(int keyGroupCount, Nodes nodes, Chunks chunks) {
        this.keyGroupCount = keyGroupCount;
        this.nodes = nodes;
        this.chunks = chunks;
        this.table = Memory.allocate(8L * keyGroupCount);
        Memory.zero(table, 8L * keyGroupCount);
        Memory.putLong(nowhere, 0);
    }

    static int nodeBytes(int code) {
        return HEADER + (HEADER << code);
    }

    /** The record with this key, or 0. `header` is {@link Record#header}. */
    long find(int keyGroup, int header, long key, int keyLength, long hash) {
        long entry = nodeEntry(keyGroup, KeyHash.tag(hash));
        if (entry == 0) {
            foundSlot = nowhere;
            return 0;
        }
        int code = (int) entry & 63;
        long node = entry & ~63L;
        int mask = (8 << code) - 1;
        long tag = hash >>> 40;
        int slotIndex = (int) tag & mask;
        long match = (long) keyLength << 32 | header;
        long table = chunks.table;
        while (true) {
            long slot = Memory.getLong(node + ((long) slotIndex << 3));
            if (slot == 0) {
                foundSlot = nowhere;
                return 0;
            }
            if (slot >>> 40 == tag) {
                long record =
                        Memory.getLong(table + ((slot >>> Chunks.OFFSET_BITS & Chunks.LIMIT - 1) << 3))
                                + ((slot & Chunks.OFFSET_MASK) << 3);
                if (matches(record, match, key, keyLength)) {
                    foundSlot = node + ((long) slotIndex << 3);
                    return Record.has(record, Record.TOMBSTONE) ? 0 : record;
                }
            }
            slotIndex = slotIndex + 1 & mask;
        }
    }

    private static boolean matches(long record, long match, long key, int keyLength) {
        long word = Memory.getLong(record);
        if ((word & Record.MATCH_MASK) == match) {
            return Memory.equal(record + 8 + (((int) word & Record.CHAINED) >>> 24), key, keyLength);
        }
        return ((int) word & Record.LARGE) != 0
                && ((int) word & Record.IDENTITY_MASK) == (int) match
                && Record.keyLength(record) == keyLength
                && Memory.equal(Record.keyAddress(record), key, keyLength);
    }

    /** Whether the key group has never had a record. */
    boolean isEmpty(int keyGroup) {
        return Memory.getLong(table + ((long) keyGroup << 3)) == 0;
    }

    private long nodeEntry(int keyGroup, int tag) {
        long entry = Memory.getLong(table + ((long) keyGroup << 3));
        int code = (int) entry & 63;
        if (code < DIRECTORY) {
            return entry;
        }
        return Memory.getLong((entry & ~63L) + ((long) (tag >>> TAG_BITS + DIRECTORY - code) << 3));
    }

    /**
     * Gives a key group that has nothing yet the nodes that so many records would need in the end. Does nothing when there is no memory: the nodes
     * grow as they must then.
     */
    void reserve(int keyGroup, long records) {
        assert isEmpty(keyGroup) : "key group is not empty: " + keyGroup;
        int code = 0;
        while (code < MAX_CODE && 16 * records >= 13L * (8 << code)) {
            code++;
        }
        int depth = 0;
        while (depth < MAX_DEPTH && 16 * (records >>> depth) >= 13L * (8 << MAX_CODE)) {
            depth++;
        }
        long memory = depth == 0 ? nodes.allocate(nodeBytes(code)) : reserveNodes(depth);
        if (memory != 0) {
            Memory.putLong(table + ((long) keyGroup << 3), depth == 0 ? memory + HEADER | code : memory | DIRECTORY + depth);
        }
    }

    /** A directory full of empty nodes; 0 when there is no memory. */
    private long reserveNodes(int depth) {
        long directory = nodes.allocate(directoryBytes(depth));
        if (directory == 0) {
            return 0;
        }
        for (int i = 0; i < 1 << depth; i++) {
            long node = nodes.allocate(nodeBytes(MAX_CODE));
            if (node == 0) {
                for (int j = 0; j < i; j++) {
                    nodes.free((Memory.getLong(directory + ((long) j << 3)) & ~63L) - HEADER, nodeBytes(MAX_CODE));
                }
                nodes.free(directory, directoryBytes(depth));
                return 0;
            }
            Memory.putInt(node + 4, depth);
            Memory.putLong(directory + ((long) i << 3), node + HEADER | MAX_CODE);
        }
        return directory;
    }

    /** The content of the slot where a search for the hash begins: reading it brings it into the cache. */
    long firstSlot(int keyGroup, long hash) {
        long entry = nodeEntry(keyGroup, KeyHash.tag(hash));
        int code = (int) entry & 63;
        return entry == 0 ? 0 : Memory.getLong((entry & ~63L) + ((hash >>> 40 & (8 << code) - 1) << 3));
    }

    /** Makes room for one more record, so that {@link #insert} cannot fail. False when there is no memory; nothing has changed then. */
    boolean prepareInsert(int keyGroup, long hash) {
        int tag = KeyHash.tag(hash);
        while (true) {
            long entry = nodeEntry(keyGroup, tag);
            if (entry == 0) {
                long node = nodes.allocate(nodeBytes(0));
                if (node == 0) {
                    return false;
                }
                Memory.putLong(table + ((long) keyGroup << 3), node + HEADER);
                return true;
            }
            int code = (int) entry & 63;
            long node = entry & ~63L;
            int slots = 8 << code;
            int after = Memory.getInt(node - HEADER) + 1;
            if (16 * after < 13 * slots) {
                return true;
            }
            boolean grown = code < MAX_CODE ? doubleNode(keyGroup, node, code) : split(keyGroup, tag, node);
            if (!grown) {
                return false;
            }
        }
    }

    /** Adds a slot; room was made by {@link #prepareInsert}. Returns the slot's address. */
    long insert(int keyGroup, long hash, long logical) {
        long entry = nodeEntry(keyGroup, KeyHash.tag(hash));
        int code = (int) entry & 63;
        long node = entry & ~63L;
        Memory.putInt(node - HEADER, Memory.getInt(node - HEADER) + 1);
        return place(node, code, hash >>> 40 << 40 | logical);
    }

    private static long place(long node, int code, long slot) {
        int mask = (8 << code) - 1;
        int index = (int) (slot >>> 40) & mask;
        while (Memory.getLong(node + ((long) index << 3)) != 0) {
            index = index + 1 & mask;
        }
        long address = node + ((long) index << 3);
        Memory.putLong(address, slot);
        return address;
    }

    /** Takes the slot out and moves later ones back, so that no probe ends early. */
    void remove(int keyGroup, long slotAddress) {
        int tag = (int) (Memory.getLong(slotAddress) >>> 40);
        long entry = nodeEntry(keyGroup, tag);
        int code = (int) entry & 63;
        long node = entry & ~63L;
        int mask = (8 << code) - 1;
        Memory.putInt(node - HEADER, Memory.getInt(node - HEADER) - 1);
        int hole = (int) (slotAddress - node >>> 3);
        int next = hole;
        while (true) {
            next = next + 1 & mask;
            long slot = Memory.getLong(node + ((long) next << 3));
            if (slot == 0) {
                break;
            }
            int home = (int) (slot >>> 40) & mask;
            // May move when its home is not between the hole (excluded) and its place, around the end.
            if ((next - home & mask) >= (next - hole & mask)) {
                Memory.putLong(node + ((long) hole << 3), slot);
                hole = next;
            }
        }
        Memory.putLong(node + ((long) hole << 3), 0);
    }

    private boolean doubleNode(int keyGroup, long node, int code) {
        long memory = nodes.allocate(nodeBytes(code + 1));
        if (memory == 0) {
            return false;
        }
        long bigger = memory + HEADER;
        Memory.putInt(memory, Memory.getInt(node - HEADER));
        for (int i = 0; i < 8 << code; i++) {
            long slot = Memory.getLong(node + ((long) i << 3));
            if (slot != 0) {
                place(bigger, code + 1, slot);
            }
        }
        Memory.putLong(table + ((long) keyGroup << 3), bigger | code + 1);
        nodes.free(node - HEADER, nodeBytes(code));
        return true;
    }

    /** Splits a full node of the greatest size by the next bit of the tag, doubling the directory when needed. */
    private boolean split(int keyGroup, int tag, long node) {
        int local = Memory.getInt(node - HEADER + 4);
        if (local == MAX_DEPTH) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unsupported,
                    "a key group holds more records than its index can address, key_group=" + keyGroup,
                    "raise the job's maximum parallelism",
                    null);
        }
        long entry = Memory.getLong(table + ((long) keyGroup << 3));
        int depth = ((int) entry & 63) < DIRECTORY ? 0 : ((int) entry & 63) - DIRECTORY;
        int newDepth = Math.max(depth, local + 1);
        long low = nodes.allocate(nodeBytes(MAX_CODE));
        long high = nodes.allocate(nodeBytes(MAX_CODE));
        long directory = newDepth == depth ? entry & ~63L : nodes.allocate(directoryBytes(newDepth));
        if (low == 0 || high == 0 || directory == 0) {
            giveBack(low, high, newDepth == depth ? 0 : directory, newDepth);
            return false;
        }
        distribute(node, local, low + HEADER, high + HEADER);
        if (newDepth != depth) {
            copyDirectory(entry, depth, directory);
            Memory.putLong(table + ((long) keyGroup << 3), directory | DIRECTORY + newDepth);
        }
        int span = 1 << newDepth - local;
        int first = tag >>> TAG_BITS - newDepth & -span;
        for (int i = 0; i < span; i++) {
            long half = i < span / 2 ? low : high;
            Memory.putLong(directory + ((long) (first + i) << 3), half + HEADER | MAX_CODE);
        }
        nodes.free(node - HEADER, nodeBytes(MAX_CODE));
        return true;
    }

    private void giveBack(long low, long high, long directory, int depth) {
        if (low != 0) {
            nodes.free(low, nodeBytes(MAX_CODE));
        }
        if (high != 0) {
            nodes.free(high, nodeBytes(MAX_CODE));
        }
        if (directory != 0) {
            nodes.free(directory, directoryBytes(depth));
        }
    }

    private static int directoryBytes(int depth) {
        return Math.max(64, 8 << depth);
    }

    private static void distribute(long node, int local, long low, long high) {
        int bit = 1 << TAG_BITS - 1 - local;
        int highCount = 0;
        int count = 0;
        for (int i = 0; i < 8 << MAX_CODE; i++) {
            long slot = Memory.getLong(node + ((long) i << 3));
            if (slot != 0) {
                boolean isHigh = ((int) (slot >>> 40) & bit) != 0;
                place(isHigh ? high : low, MAX_CODE, slot);
                highCount += isHigh ? 1 : 0;
                count++;
            }
        }
        Memory.putInt(low - HEADER, count - highCount);
        Memory.putInt(high - HEADER, highCount);
        Memory.putInt(low - HEADER + 4, local + 1);
        Memory.putInt(high - HEADER + 4, local + 1);
    }

    private void copyDirectory(long entry, int depth, long directory) {
        if (depth == 0) {
            return; // the one node is the one being split: both entries are written by the caller
        }
        long old = entry & ~63L;
        for (int i = 0; i < 1 << depth; i++) {
            long node = Memory.getLong(old + ((long) i << 3));
            Memory.putLong(directory + ((long) i << 4), node);
            Memory.putLong(directory + ((long) i << 4) + 8, node);
        }
        nodes.free(old, directoryBytes(depth));
    }

    /** Copies the key group's slots (logical addresses) out. */
    long[] slots(int keyGroup) {
        long entry = Memory.getLong(table + ((long) keyGroup << 3));
        int code = (int) entry & 63;
        if (entry == 0) {
            return new long[0];
        }
        LongList out = new LongList();
        if (code < DIRECTORY) {
            collect(entry & ~63L, code, out);
        } else {
            long previous = 0;
            for (int i = 0; i < 1 << code - DIRECTORY; i++) {
                long node = Memory.getLong((entry & ~63L) + ((long) i << 3));
                if (node != previous) {
                    collect(node & ~63L, MAX_CODE, out);
                }
                previous = node;
            }
        }
        return out.toArray();
    }

    private static void collect(long node, int code, LongList out) {
        for (int i = 0; i < 8 << code; i++) {
            long slot = Memory.getLong(node + ((long) i << 3));
            if (slot != 0) {
                out.add(slot & Chunks.ADDRESS_MASK);
            }
        }
    }

    int keyGroupCount() {
        return keyGroupCount;
    }

    void close() {
        Memory.free(table);
        Memory.free(nowhere);
    }

    /** A growing array. */
    static final class LongList {
        private long[] items = new long[64];
        private int size;

        void add(long item) {
            if (size == items.length) {
                items = java.util.Arrays.copyOf(items, size * 2);
            }
            items[size++] = item;
        }

        long[] toArray() {
            return java.util.Arrays.copyOf(items, size);
        }
    }
}
