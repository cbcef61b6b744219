package io.headrace.slimbase.engine;

import java.util.concurrent.atomic.AtomicBoolean;

/** A sealed segment's memory at the time of a snapshot. Any thread may read it until its {@link SnapshotView} is closed. */
public final class SegmentView {
    private final Segment segment;
    private final long[] addresses;
    private final long[] bytes;
    private final ColdFile file;
    private final AtomicBoolean released = new AtomicBoolean();

    /** A segment that is in a file only. */
    SegmentView(ColdFile file) {
        this.segment = null;
        this.addresses = new long[0];
        this.bytes = new long[0];
        this.file = file;
    }

    SegmentView(Segment segment, long[] addresses, long[] bytes) {
        this.segment = segment;
        this.addresses = addresses;
        this.bytes = bytes;
        this.file = null;
    }

    void hold() {
        if (file == null) {
            segment.addReader();
        } else {
            file.readers().incrementAndGet();
        }
    }

    /** True the first time. */
    boolean letGo() {
        if (!released.compareAndSet(false, true)) {
            return false;
        }
        if (file == null) {
            segment.removeReader();
        } else {
            file.readers().decrementAndGet();
        }
        return true;
    }

    /** The file that the segment is in, or null when it is in memory. */
    public ColdFile file() {
        return file;
    }

    /** What the snapshot strategy knows of the segment's file, or null. */
    public Object tag() {
        return segment == null ? file.tag() : segment.tag();
    }

    /** The segment in memory, or null; its fields belong to the task thread. */
    public Segment segment() {
        return segment;
    }

    public long number() {
        return segment == null ? file.number() : segment.number();
    }

    /** The number that stands in the file, or will. */
    public long storedNumber() {
        return segment == null ? file.storedNumber() : segment.number();
    }

    public int chunkCount() {
        return addresses.length;
    }

    public long chunkAddress(int index) {
        return addresses[index];
    }

    /** Bytes of records in the chunk, from its address on. */
    public long chunkBytes(int index) {
        return bytes[index];
    }

    public long usedBytes() {
        long sum = 0;
        for (long each : bytes) {
            sum += each;
        }
        return sum;
    }
}
