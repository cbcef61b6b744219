package io.headrace.slimbase.cold;

/** What a checkpoint's manifest says of a file, so that it need not be asked before it is read. Immutable. */
public final class StatedFile {
    final long segmentNumber;
    final long bytes;
    final long indexBytes;

    /**
     * One row.
     *
     * @param segmentNumber that stands in the file
     * @param bytes length of the file
     * @param indexBytes what filter and index take in memory, about; 0 when it is not known
     */
    public StatedFile(long segmentNumber, long bytes, long indexBytes) {
        this.segmentNumber = segmentNumber;
        this.bytes = bytes;
        this.indexBytes = indexBytes;
    }
}
