package io.headrace.slimbase.engine;

import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * All sealed segments, oldest first, pinned: their memory stays until {@link #close()}, which any thread may call, several times.
 */
public final class SnapshotView implements AutoCloseable {
    private final List<SegmentView> segments;
    private final Runnable unpin;
    private final AtomicBoolean closed = new AtomicBoolean();

    SnapshotView(List<SegmentView> segments, Runnable unpin) {
        this.segments = List.copyOf(segments);
        this.unpin = unpin;
    }

    public List<SegmentView> segments() {
        return segments;
    }

    @Override
    public void close() {
        if (closed.compareAndSet(false, true)) {
            unpin.run();
        }
    }
}
