package io.headrace.slimbase.engine;

import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * All sealed segments, oldest first, pinned: their memory stays until {@link #release} or {@link #close()}, which any thread may call, several times.
 */
public final class SnapshotView implements AutoCloseable {
    private final List<SegmentView> segments;
    private final Pins pins;
    private final long pin;
    private final AtomicBoolean closed = new AtomicBoolean();

    SnapshotView(List<SegmentView> segments, Pins pins) {
        this.segments = List.copyOf(segments);
        this.pins = pins;
        segments.forEach(SegmentView::hold);
        this.pin = pins.pinSnapshot();
    }

    public List<SegmentView> segments() {
        return segments;
    }

    /** The segment was read: its memory may go when the engine has no use for it any more. */
    public void release(SegmentView segment) {
        if (segment.letGo()) {
            pins.changed(0);
        }
    }

    @Override
    public void close() {
        if (closed.compareAndSet(false, true)) {
            segments.forEach(SegmentView::letGo);
            pins.changed(pin);
        }
    }
}
