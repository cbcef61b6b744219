package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.engine.SnapshotView;
import java.util.List;
import java.util.Map;
import org.apache.flink.runtime.state.KeyedBackendSerializationProxy;
import org.apache.flink.runtime.state.SnapshotResources;
import org.apache.flink.runtime.state.StreamStateHandle;

/** What the barrier notes for the background: sealed segments, timers, descriptions, confirmed files. */
final class CheckpointResources implements SnapshotResources {
    /** A sealed segment and, when it was restored, the file that it came from. */
    static final class SegmentPart {
        final SegmentView view;
        final FileReference origin;

        SegmentPart(SegmentView view, FileReference origin) {
            this.view = view;
            this.origin = origin;
        }
    }

    final SnapshotView view;
    final List<SegmentPart> segments;
    final TimerQueues timers;
    final KeyedBackendSerializationProxy<?> proxy;
    final List<Manifest.State> states;
    final Map<String, StreamStateHandle> confirmed;
    final Descriptions descriptions;

    CheckpointResources(
            SnapshotView view,
            List<SegmentPart> segments,
            TimerQueues timers,
            Descriptions descriptions,
            Map<String, StreamStateHandle> confirmed) {
        this.view = view;
        this.segments = segments;
        this.timers = timers;
        this.proxy = descriptions.proxy;
        this.states = descriptions.states;
        this.descriptions = descriptions;
        this.confirmed = confirmed;
    }

    boolean isEmpty() {
        return states.isEmpty();
    }

    @Override
    public void release() {
        view.close();
    }
}
