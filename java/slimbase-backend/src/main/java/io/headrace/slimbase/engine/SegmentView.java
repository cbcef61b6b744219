package io.headrace.slimbase.engine;

/** A sealed segment's memory at the time of a snapshot. Any thread may read it until its {@link SnapshotView} is closed. */
public final class SegmentView {
    private final Segment segment;
    private final long[] addresses;
    private final long[] bytes;

    SegmentView(Segment segment, long[] addresses, long[] bytes) {
        this.segment = segment;
        this.addresses = addresses;
        this.bytes = bytes;
    }

    /** The segment itself; its fields belong to the task thread. */
    public Segment segment() {
        return segment;
    }

    public long number() {
        return segment.number();
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
