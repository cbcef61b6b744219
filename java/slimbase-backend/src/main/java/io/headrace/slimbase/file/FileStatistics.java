package io.headrace.slimbase.file;

/** What was written. */
public final class FileStatistics {
    private final long bytes;
    private final long entries;
    private final long rawBytes;

    FileStatistics(long bytes, long entries, long rawBytes) {
        this.bytes = bytes;
        this.entries = entries;
        this.rawBytes = rawBytes;
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
}
