package io.headrace.slimbase;

import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.engine.RecordCursor;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.layout.MapPages;
import io.headrace.slimbase.layout.OffHeapOutput;
import io.headrace.slimbase.layout.Scratch;
import io.headrace.slimbase.registry.BackendContext;
import io.headrace.slimbase.registry.StateInfo;
import io.headrace.slimbase.snapshot.SlimCheckpointStrategy;
import io.headrace.slimbase.snapshot.SlimSavepoint;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.RunnableFuture;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.annotation.Nonnull;
import org.apache.flink.api.common.ExecutionConfig;
import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.runtime.state.Keyed;
import org.apache.flink.runtime.state.KeyedStateFunction;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.PriorityComparable;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.SavepointResources;
import org.apache.flink.runtime.state.SnapshotExecutionType;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.SnapshotStrategyRunner;
import org.apache.flink.runtime.state.StateSnapshotTransformer.StateSnapshotTransformFactory;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueElement;
import org.apache.flink.util.IOUtils;

/**
 * The keyed state of one operator subtask in a {@link SlimEngine}.
 *
 * <p>The current key is serialized once, by {@link #setCurrentKey}; each state appends its namespace and looks its record up. Timers are heap queues that
 * snapshots write whole. Snapshots are made by the strategy in package {@code snapshot}; this class only passes them on.
 *
 * @param <K> type of the key
 */
public final class SlimKeyedStateBackend<K> extends AbstractKeyedStateBackend<K> {
    private final BackendContext<K> context;
    private final SlimEngine engine;
    private final SlimCheckpointStrategy<K> strategy;
    private final BackendResources resources;
    private final KeysAhead ahead;
    private final KeyScratch<K> keys;
    private final OffHeapOutput valueOutput = new OffHeapOutput(1024);
    private final Scratch iteratorKey = new Scratch(256);
    private final MapPages mapPages;
    private final Queries queries = new Queries();
    private final StateRegistration<K> registration;
    private final Map<String, AbstractSlimState<K, ?, ?>> created = new HashMap<>();
    private final List<AutoCloseable> parts = new ArrayList<>();
    private final ExecutionConfig executionConfig;
    private boolean disposed;

    SlimKeyedStateBackend(
            BaseParameters<K> base, BackendContext<K> context, SlimCheckpointStrategy<K> strategy, BackendResources resources) {
        super(
                base.kvStateRegistry,
                context.keySerializer(),
                context.userClassLoader(),
                base.executionConfig,
                context.ttlTimeProvider(),
                base.latencyTracking,
                base.sizeTracking,
                base.cancelRegistry,
                context.keyGroupCompression(),
                base.keyContext);
        this.context = context;
        this.engine = context.engine();
        this.strategy = strategy;
        this.resources = resources;
        this.executionConfig = base.executionConfig;
        this.ahead = isNative() ? new KeysAhead(engine) : null;
        this.keys = new KeyScratch<>(context.keySerializer(), ahead);
        this.mapPages = new MapPages(engine);
        this.registration = new StateRegistration<>(this, context);
    }

    // --- what states need ------------------------------------------------------------------------------------------------

    SlimEngine engine() {
        return engine;
    }

    KeyScratch<K> keys() {
        return keys;
    }

    /** Where states serialize values; what is in it holds until the next one serializes. */
    OffHeapOutput valueOutput() {
        return valueOutput;
    }

    MapPages mapPages() {
        return mapPages;
    }

    /** Where iterators put the key that they remember. */
    Scratch iteratorKey() {
        return iteratorKey;
    }

    Queries queries() {
        return queries;
    }

    /** What is closed with the backend. */
    void closeWith(AutoCloseable part) {
        parts.add(part);
    }

    /** What fetches the keys of a mini-batch, or null. */
    KeysAhead keysAhead() {
        return ahead;
    }

    boolean isNative() {
        return resources.isNative();
    }

    ExecutionConfig executionConfig() {
        return executionConfig;
    }

    BackendContext<K> context() {
        return context;
    }

    int keyGroupOf(K key) {
        return KeyGroupRangeAssignment.assignToKeyGroup(key, numberOfKeyGroups);
    }

    // --- current key -----------------------------------------------------------------------------------------------------

    @Override
    public void setCurrentKey(K newKey) {
        super.setCurrentKey(newKey);
        keySet(newKey);
    }

    @Override
    public void setCurrentKeyAndKeyGroup(K newKey, int newKeyGroupIndex) {
        super.setCurrentKeyAndKeyGroup(newKey, newKeyGroupIndex);
        keySet(newKey);
    }

    private void keySet(K newKey) {
        keys.set(newKey, keyContext.getCurrentKeyGroupIndex());
        if (queries.isPending()) {
            queries.answer();
        }
    }

    @Override
    public void setCurrentKeyGroupIndex(int currentKeyGroupIndex) {
        super.setCurrentKeyGroupIndex(currentKeyGroupIndex);
        keys.setKeyGroup(currentKeyGroupIndex);
    }

    // --- states ----------------------------------------------------------------------------------------------------------

    @Override
    @Nonnull
    public <N, SV, SEV, S extends State, IS extends S> IS createOrUpdateInternalState(
            @Nonnull TypeSerializer<N> namespaceSerializer,
            @Nonnull StateDescriptor<S, SV> descriptor,
            @Nonnull StateSnapshotTransformFactory<SEV> transforms)
            throws Exception {
        return createOrUpdateInternalState(namespaceSerializer, descriptor, transforms, false);
    }

    @Override
    @Nonnull
    @SuppressWarnings("unchecked")
    public <N, SV, SEV, S extends State, IS extends S> IS createOrUpdateInternalState(
            @Nonnull TypeSerializer<N> namespaceSerializer,
            @Nonnull StateDescriptor<S, SV> descriptor,
            @Nonnull StateSnapshotTransformFactory<SEV> transforms,
            boolean allowFutureMetadataUpdates)
            throws Exception {
        StateInfo info = registration.register(namespaceSerializer, descriptor, transforms, allowFutureMetadataUpdates);
        AbstractSlimState<K, N, SV> state = (AbstractSlimState<K, N, SV>) created.get(descriptor.getName());
        if (state == null) {
            state = registration.create(info, descriptor);
            created.put(descriptor.getName(), state);
        }
        state.update((RegisteredKeyValueStateBackendMetaInfo<N, SV>) info.metaInfo(), descriptor);
        return state.asState();
    }

    @Override
    @Nonnull
    public <T extends HeapPriorityQueueElement & PriorityComparable<? super T> & Keyed<?>>
            KeyGroupedInternalPriorityQueue<T> create(@Nonnull String stateName, @Nonnull TypeSerializer<T> elementSerializer) {
        return create(stateName, elementSerializer, false);
    }

    @Override
    @Nonnull
    public <T extends HeapPriorityQueueElement & PriorityComparable<? super T> & Keyed<?>>
            KeyGroupedInternalPriorityQueue<T> create(
                    @Nonnull String stateName, @Nonnull TypeSerializer<T> elementSerializer, boolean allowFutureMetadataUpdates) {
        KeyGroupedInternalPriorityQueue<T> queue =
                context.queuesManager().createOrUpdate(stateName, elementSerializer, allowFutureMetadataUpdates);
        return keySerializer.isImmutableType() ? queue : new CopyingQueue<>(queue, elementSerializer);
    }

    // --- keys ------------------------------------------------------------------------------------------------------------

    @Override
    public <N> Stream<K> getKeys(String state, N namespace) {
        return getKeys(List.of(state), namespace);
    }

    @Override
    public <N> Stream<K> getKeys(List<String> states, N namespace) {
        List<StateInfo> known = new ArrayList<>();
        for (String state : states) {
            StateInfo info = context.registry().state(state);
            if (info != null) {
                known.add(info);
            }
        }
        return new KeyWalk<>(context).keys(known, namespace);
    }

    @Override
    public <N> Stream<Tuple2<K, N>> getKeysAndNamespaces(String state) {
        StateInfo info = context.registry().state(state);
        return info == null ? Stream.empty() : new KeyWalk<>(context).keysAndNamespaces(info);
    }

    /** Applies the function key by key; what it writes, also clearing, does not disturb the walk. */
    @Override
    public <N, S extends State, T> void applyToAllKeys(
            N namespace,
            TypeSerializer<N> namespaceSerializer,
            StateDescriptor<S, T> descriptor,
            KeyedStateFunction<K, S> function,
            PartitionStateFactory stateFactory)
            throws Exception {
        // The state first: registering it may migrate what is there.
        S state = stateFactory.get(namespace, namespaceSerializer, descriptor);
        List<K> all = getKeys(descriptor.getName(), namespace).collect(Collectors.toList());
        for (K key : all) {
            setCurrentKey(key);
            function.process(key, state);
        }
    }

    @Override
    public int numKeyValueStateEntries() {
        long sum = 0;
        for (StateInfo info : context.registry().states()) {
            sum += engine.recordCount(info.identity());
        }
        return (int) Math.min(sum, Integer.MAX_VALUE);
    }

    /** Rewrites all records of a state by the migration. */
    <N, V> void migrate(StateInfo info, AbstractSlimState<K, N, V> state, ValueMigration<V> migration) throws Exception {
        try (RecordKey key = new RecordKey()) {
            for (int group = keyGroupRange.getStartKeyGroup(); group <= keyGroupRange.getEndKeyGroup(); group++) {
                try (RecordCursor cursor = engine.records(group)) {
                    for (long record = cursor.next(); record != 0; record = cursor.next()) {
                        if (Record.identity(record) == info.identity()) {
                            key.set(record);
                            state.migrate(group, key, migration);
                        }
                    }
                }
            }
        }
    }

    // --- snapshots -------------------------------------------------------------------------------------------------------

    @Override
    @Nonnull
    public RunnableFuture<SnapshotResult<KeyedStateHandle>> snapshot(
            long checkpointId, long timestamp, @Nonnull CheckpointStreamFactory streamFactory, @Nonnull CheckpointOptions options)
            throws Exception {
        return new SnapshotStrategyRunner<>(
                        "SlimBase snapshot", strategy, cancelStreamRegistry, SnapshotExecutionType.ASYNCHRONOUS)
                .snapshot(checkpointId, timestamp, streamFactory, options);
    }

    @Override
    @Nonnull
    public SavepointResources<K> savepoint() throws Exception {
        return new SavepointResources<>(SlimSavepoint.resources(context), SnapshotExecutionType.ASYNCHRONOUS);
    }

    @Override
    public void notifyCheckpointComplete(long checkpointId) throws Exception {
        strategy.notifyCheckpointComplete(checkpointId);
    }

    @Override
    public void notifyCheckpointAborted(long checkpointId) throws Exception {
        strategy.notifyCheckpointAborted(checkpointId);
    }

    @Override
    public void notifyCheckpointSubsumed(long checkpointId) throws Exception {
        strategy.notifyCheckpointSubsumed(checkpointId);
    }

    // --- the rest --------------------------------------------------------------------------------------------------------

    /** Values are serialized bytes; callers may use their objects again. */
    @Override
    public boolean isSafeToReuseKVState() {
        return true;
    }

    @Override
    public String getBackendTypeIdentifier() {
        return SlimBaseStateBackend.NAME;
    }

    @Override
    public void dispose() {
        if (disposed) {
            return;
        }
        disposed = true;
        super.dispose();
        IOUtils.closeQuietly(strategy);
        created.clear();
        context.registry().queues().clear();
        parts.forEach(IOUtils::closeQuietly);
        mapPages.close();
        valueOutput.close();
        iteratorKey.close();
        keys.close();
        IOUtils.closeQuietly(ahead);
        resources.close();
    }

    @Override
    public String toString() {
        return "SlimKeyedStateBackend{keyGroups=" + keyGroupRange + '}';
    }
}
