package io.headrace.slimbase.engine;

/** Blocks of a list: u32 used, u32 count, elements with {@code ,} between them; docs/concepts/slimbase-format.md, Values by kind of state. */
final class ListBlocks {
    static final int HEADER = 8;
    static final int LIMIT = 64 << 10;
    /** Room for a second small element in a list's first block. */
    static final int FIRST_SPARE = 8;

    private ListBlocks() {}

    /** Length of the block that an element starts behind its forerunner: at most doubled, so that a list of n bytes has about log(n) blocks an epoch. */
    static int nextLength(long forerunner, int elementLength) {
        int doubled = Math.min(2 * (Record.valueLength(forerunner) - HEADER), LIMIT);
        return HEADER + Math.max(doubled, elementLength);
    }

    static boolean appendInPlace(long record, long element, int elementLength) {
        long block = Record.valueAddress(record);
        int used = Memory.getInt(block);
        int count = Memory.getInt(block + 4);
        int delimiter = count > 0 ? 1 : 0;
        if (HEADER + (long) used + delimiter + elementLength > Record.valueLength(record)) {
            return false;
        }
        long at = block + HEADER + used;
        if (delimiter == 1) {
            Memory.putByte(at++, (byte) ',');
        }
        Memory.copy(element, at, elementLength);
        Memory.putInt(block, used + delimiter + elementLength);
        Memory.putInt(block + 4, count + 1);
        return true;
    }

    static void start(long block, long element, int elementLength) {
        Memory.putInt(block, elementLength);
        Memory.putInt(block + 4, 1);
        Memory.copy(element, block + HEADER, elementLength);
    }

    /** Length of the block that several ones make together. */
    static long joinedLength(long[] blocks, int count) {
        long used = count - 1L;
        for (int i = 0; i < count; i++) {
            used += Memory.getInt(blocks[i]);
        }
        return used + HEADER;
    }

    /** Makes one block of several, given newest first. */
    static void join(long[] blocks, int count, long to) {
        long at = to + HEADER;
        int elements = 0;
        for (int i = count - 1; i >= 0; i--) {
            Memory.copy(blocks[i] + HEADER, at, Memory.getInt(blocks[i]));
            at += Memory.getInt(blocks[i]);
            elements += Memory.getInt(blocks[i] + 4);
            if (i > 0) {
                Memory.putByte(at++, (byte) ',');
            }
        }
        Memory.putInt(to, (int) (at - to - HEADER));
        Memory.putInt(to + 4, elements);
    }
}
