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
        private final long entries;
        private final long liveEntries;

        Output(Path path, long segmentNumber, FileStatistics written, long tombstones) {
            this.path = path;
            this.segmentNumber = segmentNumber;
            this.bytes = written.bytes();
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
