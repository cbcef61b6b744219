package io.headrace.slimbase.engine;

/**
 * A sealed segment's memory at the time of a snapshot. Any thread may read it until its {@link SnapshotView} is closed.
 *
 * <p>While nobody has begun to read it ({@link #read}), a file that the segment was packed into may take its place, so that a checkpoint that
 * uploads slowly does not hold memory which the task is waiting for.
 */
public final class SegmentView {
    private final Segment segment;
    private final long[] addresses;
    private final long[] bytes;
    private ColdFile file;
    private boolean isReading;
    private boolean isReleased;

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

    synchronized void hold() {
        if (file == null) {
            segment.addReader(this);
        } else {
            file.readers().incrementAndGet();
        }
    }

    /** True the first time. */
    synchronized boolean letGo() {
        if (isReleased) {
            return false;
        }
        isReleased = true;
        if (file == null) {
            segment.removeReader(this);
        } else {
            file.readers().decrementAndGet();
        }
        return true;
    }

    /** From now on the segment stays where it is: the file that it is in, or null when its memory is to be read. */
    public synchronized ColdFile read() {
        isReading = true;
        return file;
    }

    /** The segment has been packed into this file, which is read in its place if nobody reads its memory. Task thread. */
    synchronized void moveTo(ColdFile packed) {
        if (!isReading && !isReleased && file == null) {
            packed.readers().incrementAndGet();
            segment.removeReader(this);
            file = packed;
        }
    }

    /** The file that the segment is in, or null while it is in memory, which it may leave until {@link #read}. */
    public synchronized ColdFile file() {
        return file;
    }

    /** What the snapshot strategy knows of the segment's file, or null. */
    public Object tag() {
        return segment == null ? file.tag() : segment.tag();
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
