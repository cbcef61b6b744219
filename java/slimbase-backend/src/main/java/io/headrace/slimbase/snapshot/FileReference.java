package io.headrace.slimbase.snapshot;

import org.apache.flink.runtime.state.KeyGroupRange;

/** A row of the manifest: a file, and which of its key groups are this state's. Immutable. */
final class FileReference {
    private final String name;
    private final long segmentNumber;
    private final long bytes;
    private final KeyGroupRange range;

    FileReference(String name, long segmentNumber, long bytes, KeyGroupRange range) {
        this.name = name;
        this.segmentNumber = segmentNumber;
        this.bytes = bytes;
        this.range = range;
    }

    String name() {
        return name;
    }

    /** The number that stands in the file. */
    long segmentNumber() {
        return segmentNumber;
    }

    long bytes() {
        return bytes;
    }

    KeyGroupRange range() {
        return range;
    }

    /** The same file, fewer key groups. */
    FileReference within(KeyGroupRange other) {
        return new FileReference(name, segmentNumber, bytes, range.getIntersection(other));
    }

    /** The same file, its length known. */
    FileReference ofLength(long length) {
        return new FileReference(name, segmentNumber, length, range);
    }

    /** Name in the directory of a local copy, where two ranges of one file are two files. */
    String localName() {
        return range.getStartKeyGroup() + "-" + range.getEndKeyGroup() + "-" + name;
    }
}
