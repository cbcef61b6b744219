package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.engine.SnapshotView;
import io.headrace.slimbase.registry.BackendContext;
import io.headrace.slimbase.registry.StateInfo;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.runtime.state.FullSnapshotResources;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyValueStateIterator;
import org.apache.flink.runtime.state.StateSnapshotTransformer;
import org.apache.flink.runtime.state.StreamCompressionDecorator;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;

/** Savepoints in Flink's canonical format, which every backend reads. The barrier seals the log; the background merges the sealed segments. */
public final class SlimSavepoint {
    private SlimSavepoint() {}

    /** The synchronous part, on the task thread. */
    public static <K> FullSnapshotResources<K> resources(BackendContext<K> context) {
        return new Resources<>(context);
    }

    /** A key/value state as of the barrier. */
    static final class State {
        final StateInfo info;
        final CanonicalKeys keys;
        /** Null when values are written as they are. */
        final StateSnapshotTransformer<byte[]> transformer;

        @SuppressWarnings("unchecked")
        State(StateInfo info, TypeSerializer<?> keySerializer, int numberOfKeyGroups) {
            this.info = info;
            this.keys =
                    new CanonicalKeys(keySerializer, info.metaInfo().getNamespaceSerializer().duplicate(), numberOfKeyGroups);
            this.transformer =
                    (StateSnapshotTransformer<byte[]>)
                            info.metaInfo().getStateSnapshotTransformFactory().createForSerializedState().orElse(null);
        }
    }

    private static final class Resources<K> implements FullSnapshotResources<K> {
        private final BackendContext<K> context;
        private final TypeSerializer<K> keySerializer;
        private final List<StateMetaInfoSnapshot> metaInfos = new ArrayList<>();
        private final List<State> states = new ArrayList<>();
        private final TimerQueues timers;
        private final SnapshotView view;

        Resources(BackendContext<K> context) {
            this.context = context;
            this.keySerializer = context.keySerializer().duplicate();
            this.timers = TimerQueues.take(context.registry());
            for (StateInfo info : context.registry().states()) {
                metaInfos.add(info.metaInfo().snapshot());
                states.add(new State(info, keySerializer, context.numberOfKeyGroups()));
            }
            timers.queues().forEach(queue -> metaInfos.add(queue.metaInfo));
            this.view = context.engine().seal();
            // It goes through all segments key group by key group: each of them is read until the end.
            view.segments().forEach(SegmentView::read);
        }

        @Override
        public List<StateMetaInfoSnapshot> getMetaInfoSnapshots() {
            return metaInfos;
        }

        @Override
        public KeyValueStateIterator createKVStateIterator() throws java.io.IOException {
            return new SavepointIterator(
                    new KeyGroupBatches(view.segments(), context.keyGroupRange()),
                    states,
                    timers,
                    context.numberOfKeyGroups());
        }

        @Override
        public KeyGroupRange getKeyGroupRange() {
            return context.keyGroupRange();
        }

        @Override
        public TypeSerializer<K> getKeySerializer() {
            return keySerializer;
        }

        @Override
        public StreamCompressionDecorator getStreamCompressionDecorator() {
            return context.keyGroupCompression();
        }

        @Override
        public void release() {
            view.close();
        }
    }
}
