package io.headrace.slimbase.file;

/** What was written. */
public final class FileStatistics {
    private final long bytes;
    private final long entries;
    private final long rawBytes;
    private final long indexBytes;

    FileStatistics(long bytes, long entries, long rawBytes, long indexBytes) {
        this.bytes = bytes;
        this.entries = entries;
        this.rawBytes = rawBytes;
        this.indexBytes = indexBytes;
    }

    /** Length of the file. */
    public long bytes() {
        return bytes;
    }

    /** Entries, tombstones among them. */
    public long entries() {
        return entries;
    }

    /** Bytes of the entries before compression. */
    public long rawBytes() {
        return rawBytes;
    }

    /** What filter and index take in memory when the file is opened for lookups, about. */
    public long indexBytes() {
        return indexBytes;
    }
}
