package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.file.AccessTimes;
import io.headrace.slimbase.file.RecordRuns;
import io.headrace.slimbase.file.SegmentWriter;
import io.headrace.slimbase.file.ValueFilter;
import io.headrace.slimbase.registry.BackendContext;
import io.headrace.slimbase.registry.StateInfo;
import io.headrace.slimbase.registry.StateKind;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.runtime.state.KeyedBackendSerializationProxy;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;

/** Descriptions of all states at the barrier: Flink's and ours, key/value states first, then queues. */
final class Descriptions {
    final List<StateMetaInfoSnapshot> metaInfos = new ArrayList<>();
    final List<Manifest.State> states = new ArrayList<>();
    final KeyedBackendSerializationProxy<?> proxy;
    /** Null when no state has a time to live. */
    private final ValueFilter filter;
    /** Null when no state has a time to live. */
    private final AccessTimes accessTimes;

    private Descriptions(BackendContext<?> context, TimerQueues timers) {
        for (StateInfo info : context.registry().states()) {
            metaInfos.add(info.metaInfo().snapshot());
            states.add(new Manifest.State(info.name(), info.stateId(), info.kind(), info.ttlMs()));
        }
        for (TimerQueues.Queue queue : timers.queues()) {
            metaInfos.add(queue.metaInfo);
            states.add(new Manifest.State(queue.name, queue.stateId, StateKind.QUEUE, 0));
        }
        proxy = new KeyedBackendSerializationProxy<>(context.keySerializer(), metaInfos, false);
        filter = ExpiryFilter.of(context.registry().states(), context.ttlTimeProvider().currentTimestamp());
        accessTimes = LastAccess.of(context.registry().states());
    }

    /** Packs a segment of the snapshot as the states' times to live say. Any thread. */
    SegmentWriter writer(SegmentView segment) {
        return SegmentWriter.of(RecordRuns.of(segment), filter).times(accessTimes);
    }

    static Descriptions take(BackendContext<?> context, TimerQueues timers) {
        return new Descriptions(context, timers);
    }
}
