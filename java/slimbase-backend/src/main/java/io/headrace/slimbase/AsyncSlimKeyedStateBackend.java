package io.headrace.slimbase;

import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.RunnableFuture;
import javax.annotation.Nonnull;
import org.apache.flink.api.common.state.v2.AggregatingStateDescriptor;
import org.apache.flink.api.common.state.v2.ReducingStateDescriptor;
import org.apache.flink.api.common.state.v2.State;
import org.apache.flink.api.common.state.v2.StateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.runtime.asyncprocessing.StateExecutor;
import org.apache.flink.runtime.asyncprocessing.StateRequestHandler;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.SnapshotType;
import org.apache.flink.runtime.state.AsyncKeyedStateBackend;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.runtime.state.Keyed;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.PriorityComparable;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.StateSnapshotTransformer.StateSnapshotTransformFactory;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueElement;
import org.apache.flink.runtime.state.v2.StateDescriptorUtils;
import org.apache.flink.runtime.state.v2.internal.InternalKeyedState;
import org.apache.flink.runtime.state.v2.ttl.TtlStateFactory;

/**
 * The backend of Flink's asynchronous state API. State is in memory, so requests are executed on the task thread, a batch at a time: the lookups of a
 * batch are made together, which hides what they wait for memory. States, checkpoints and timers are the synchronous backend's.
 *
 * @param <K> type of the key
 */
public final class AsyncSlimKeyedStateBackend<K> implements AsyncKeyedStateBackend<K> {
    private final SlimKeyedStateBackend<K> sync;
    private final Map<String, State> states = new HashMap<>();
    private StateRequestHandler handler;

    AsyncSlimKeyedStateBackend(SlimKeyedStateBackend<K> sync) {
        this.sync = sync;
    }

    @Override
    public void setup(@Nonnull StateRequestHandler stateRequestHandler) {
        this.handler = stateRequestHandler;
    }

    @Override
    @SuppressWarnings("unchecked")
    public <N, S extends State, V> S getOrCreateKeyedState(
            N defaultNamespace, TypeSerializer<N> namespaceSerializer, StateDescriptor<V> descriptor) throws Exception {
        State known = states.get(descriptor.getStateId());
        if (known == null) {
            if (!descriptor.isSerializerInitialized()) {
                descriptor.initializeSerializerUnlessSet(sync.executionConfig());
            }
            known = TtlStateFactory.createStateAndWrapWithTtlIfEnabled(
                    defaultNamespace, namespaceSerializer, descriptor, this, sync.context().ttlTimeProvider());
            states.put(descriptor.getStateId(), known);
        }
        return (S) known;
    }

    @Override
    @Nonnull
    @SuppressWarnings({"rawtypes", "unchecked"})
    public <N, S extends InternalKeyedState, V> S createStateInternal(
            @Nonnull N defaultNamespace, @Nonnull TypeSerializer<N> namespaceSerializer, @Nonnull StateDescriptor<V> descriptor)
            throws Exception {
        org.apache.flink.api.common.state.StateDescriptor plain = StateDescriptorUtils.transformFromV2ToV1(descriptor);
        if (descriptor.getTtlConfig().isEnabled()) {
            plain.enableTimeToLive(descriptor.getTtlConfig());
        }
        Object state =
                sync.createOrUpdateInternalState(namespaceSerializer, plain, StateSnapshotTransformFactory.noTransform());
        switch (descriptor.getType()) {
            case VALUE:
                return (S) new AsyncStates.OfValue(handler, (SlimValueState) state);
            case LIST:
                return (S) new AsyncStates.OfList(handler, descriptor.getSerializer(), (SlimListState) state);
            case MAP:
                return (S) new AsyncStates.OfMap(handler, (SlimMapState) state);
            case REDUCING:
                return (S) new AsyncStates.OfReducing(
                        handler, ((ReducingStateDescriptor) descriptor).getReduceFunction(), (SlimReducingState) state);
            case AGGREGATING:
                return (S) new AsyncStates.OfAggregating(
                        handler, ((AggregatingStateDescriptor) descriptor).getAggregateFunction(), (SlimAggregatingState) state);
            default:
                throw new UnsupportedOperationException("kind of state is not supported, type=" + descriptor.getType());
        }
    }

    @Override
    @Nonnull
    public StateExecutor createStateExecutor() {
        return new SlimStateExecutor<>(sync);
    }

    @Override
    public KeyGroupRange getKeyGroupRange() {
        return sync.getKeyGroupRange();
    }

    @Override
    public boolean requiresLegacySynchronousTimerSnapshots(SnapshotType checkpointType) {
        return false;
    }

    @Override
    public boolean isSafeToReuseKVState() {
        return true;
    }

    @Override
    public String getBackendTypeIdentifier() {
        return sync.getBackendTypeIdentifier();
    }

    @Override
    @Nonnull
    public RunnableFuture<SnapshotResult<KeyedStateHandle>> snapshot(
            long checkpointId, long timestamp, @Nonnull CheckpointStreamFactory streamFactory, @Nonnull CheckpointOptions options)
            throws Exception {
        return sync.snapshot(checkpointId, timestamp, streamFactory, options);
    }

    @Override
    public void notifyCheckpointComplete(long checkpointId) throws Exception {
        sync.notifyCheckpointComplete(checkpointId);
    }

    @Override
    public void notifyCheckpointAborted(long checkpointId) throws Exception {
        sync.notifyCheckpointAborted(checkpointId);
    }

    @Override
    public void notifyCheckpointSubsumed(long checkpointId) throws Exception {
        sync.notifyCheckpointSubsumed(checkpointId);
    }

    @Override
    @Nonnull
    public <T extends HeapPriorityQueueElement & PriorityComparable<? super T> & Keyed<?>>
            KeyGroupedInternalPriorityQueue<T> create(@Nonnull String stateName, @Nonnull TypeSerializer<T> elementSerializer) {
        return sync.create(stateName, elementSerializer);
    }

    @Override
    @Nonnull
    public <T extends HeapPriorityQueueElement & PriorityComparable<? super T> & Keyed<?>>
            KeyGroupedInternalPriorityQueue<T> create(
                    @Nonnull String stateName, @Nonnull TypeSerializer<T> elementSerializer, boolean allowFutureMetadataUpdates) {
        return sync.create(stateName, elementSerializer, allowFutureMetadataUpdates);
    }

    @Override
    public void dispose() {
        sync.dispose();
    }

    @Override
    public void close() throws IOException {
        sync.close();
    }
}
