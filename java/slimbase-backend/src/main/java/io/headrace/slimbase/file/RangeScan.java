package io.headrace.slimbase.file;

/** Goes over the blocks of a key-group range: the caller gives them in order. Close it, for it holds scratch memory. */
public final class RangeScan implements AutoCloseable {
    private final String name;
    private final Footer footer;
    private final int firstExtent;
    private final int lastExtent;
    private BlockParser parser;

    RangeScan(String name, Footer footer, int firstExtent, int lastExtent) {
        this.name = name;
        this.footer = footer;
        this.firstExtent = firstExtent;
        this.lastExtent = lastExtent;
    }

    /** The first block to read. */
    public int firstBlock() {
        return isEmpty() ? 0 : footer.firstBlocks[firstExtent];
    }

    /** The last block to read; less than the first one when there is nothing. */
    public int lastBlock() {
        if (isEmpty()) {
            return -1;
        }
        int after = lastExtent + 1;
        if (after == footer.keyGroups.length) {
            return footer.blockOffsets.length - 1;
        }
        return footer.firstOffsets[after] == 0 ? footer.firstBlocks[after] - 1 : footer.firstBlocks[after];
    }

    /** Whether the file has nothing of the range. */
    public boolean isEmpty() {
        return lastExtent < firstExtent;
    }

    /** Hands out the block's entries that belong to the range. The same visitor each time. */
    public void parse(Block block, EntryVisitor visitor) {
        if (parser == null) {
            parser = new BlockParser(name, footer, firstExtent, lastExtent, visitor);
        }
        parser.parse(block);
    }

    /** After the last block: nothing may be missing. */
    public void finish() {
        if (parser != null) {
            parser.finish();
        }
    }

    @Override
    public void close() {
        if (parser != null) {
            parser.close();
        }
    }
}
