package io.headrace.slimbase.snapshot;

import org.apache.flink.runtime.state.KeyGroupRange;

/** A row of the manifest: a file, and which of its key groups are this state's. Immutable. */
final class FileReference {
    private final String name;
    private final long segmentNumber;
    private final long bytes;
    /** 0: not known. */
    private final long indexBytes;

    private final KeyGroupRange range;

    FileReference(String name, long segmentNumber, long bytes, long indexBytes, KeyGroupRange range) {
        this.name = name;
        this.segmentNumber = segmentNumber;
        this.bytes = bytes;
        this.indexBytes = indexBytes;
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

    /** What filter and index take in memory when the file is opened for lookups, about; 0 when it is not known. */
    long indexBytes() {
        return indexBytes;
    }

    KeyGroupRange range() {
        return range;
    }

    /** The same file, fewer key groups. */
    FileReference within(KeyGroupRange other) {
        return new FileReference(name, segmentNumber, bytes, indexBytes, range.getIntersection(other));
    }

    /** The same file, now that it is written. */
    FileReference written(long length, long index) {
        return new FileReference(name, segmentNumber, length, index, range);
    }

    /** Name in the directory of a local copy, where two ranges of one file are two files. */
    String localName() {
        return range.getStartKeyGroup() + "-" + range.getEndKeyGroup() + "-" + name;
    }
}
