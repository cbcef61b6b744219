package io.headrace.slimbase.file;

/** A block's raw bytes, checked. */
public final class Block {
    final int number;
    final byte[] raw;
    final int bytes;

    Block(int number, byte[] raw, int bytes) {
        this.number = number;
        this.raw = raw;
        this.bytes = bytes;
    }

    /** Length of the raw bytes. */
    public int bytes() {
        return bytes;
    }
}
