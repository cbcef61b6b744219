package io.headrace.slimbase.file;

import java.nio.file.Path;
import java.util.List;

/** What a merge has made and read. */
public final class MergeResult {
    /** One new file. */
    public static final class Output {
        private final Path path;
        private final long segmentNumber;
        private final long bytes;
        private final long indexBytes;
        private final long entries;
        private final long liveEntries;
        private final int firstKeyGroup;
        private final int lastKeyGroup;

        Output(Path path, long segmentNumber, FileStatistics written, long tombstones, int firstKeyGroup, int lastKeyGroup) {
            this.path = path;
            this.segmentNumber = segmentNumber;
            this.firstKeyGroup = firstKeyGroup;
            this.lastKeyGroup = lastKeyGroup;
            this.bytes = written.bytes();
            this.indexBytes = written.indexBytes();
            this.entries = written.entries();
            this.liveEntries = entries - tombstones;
        }

        public Path path() {
            return path;
        }

        public long segmentNumber() {
            return segmentNumber;
        }

        /** Length of the file. */
        public long bytes() {
            return bytes;
        }

        /** What filter and index take in memory when the file is opened, about. */
        public long indexBytes() {
            return indexBytes;
        }

        /** Of its first entry. */
        public int firstKeyGroup() {
            return firstKeyGroup;
        }

        /** Of its last entry. */
        public int lastKeyGroup() {
            return lastKeyGroup;
        }

        /** All entries, tombstones too. */
        public long entries() {
            return entries;
        }

        /** Entries that are no tombstones. */
        public long liveEntries() {
            return liveEntries;
        }
    }

    private final List<Output> outputs;
    private final long bytesRead;
    private final long entriesRead;
    private final long superseded;
    private final long expired;

    MergeResult(List<Output> outputs, long bytesRead, long entriesRead, long superseded, long expired) {
        this.outputs = List.copyOf(outputs);
        this.bytesRead = bytesRead;
        this.entriesRead = entriesRead;
        this.superseded = superseded;
        this.expired = expired;
    }

    /** New files in order of their key groups; none when nothing was left. */
    public List<Output> outputs() {
        return outputs;
    }

    /** Stored bytes read from the inputs' blocks. */
    public long bytesRead() {
        return bytesRead;
    }

    public long entriesRead() {
        return entriesRead;
    }

    /** Entries left out because a newer one took their place. */
    public long superseded() {
        return superseded;
    }

    /** Values that the filter did not keep. */
    public long expired() {
        return expired;
    }
}
