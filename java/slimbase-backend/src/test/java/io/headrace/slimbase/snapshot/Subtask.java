package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.differential.Gauges;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.RunnableFuture;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.IntSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.CheckpointType;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.io.disk.iomanager.IOManager;
import org.apache.flink.runtime.operators.testutils.MockEnvironment;
import org.apache.flink.runtime.operators.testutils.MockEnvironmentBuilder;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.runtime.state.KeyedStateBackendParametersImpl;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.SavepointResources;
import org.apache.flink.runtime.state.SavepointSnapshotStrategy;
import org.apache.flink.runtime.state.SnapshotExecutionType;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.SnapshotStrategyRunner;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.TestTaskStateManager;
import org.apache.flink.runtime.state.TestTaskStateManagerBuilder;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.streaming.api.operators.TimerHeapInternalTimer;
import org.apache.flink.streaming.api.operators.TimerSerializer;

/** One subtask with a backend, a state of each kind and a timer queue. Keys are ints, values text. */
final class Subtask implements AutoCloseable {
    static final int MAX_PARALLELISM = 16;
    static final long MEMORY_BYTES = 256 << 20;

    private static final ValueStateDescriptor<String> VALUE = new ValueStateDescriptor<>("value", StringSerializer.INSTANCE);
    private static final ListStateDescriptor<String> LIST = new ListStateDescriptor<>("list", StringSerializer.INSTANCE);
    private static final MapStateDescriptor<String, Long> MAP =
            new MapStateDescriptor<>("map", StringSerializer.INSTANCE, LongSerializer.INSTANCE);

    final AbstractKeyedStateBackend<Integer> backend;
    final MockEnvironment environment;
    final Gauges gauges = new Gauges();
    private final KeyGroupedInternalPriorityQueue<TimerHeapInternalTimer<Integer, VoidNamespace>> timers;

    Subtask(StateBackend factory, KeyGroupRange range, Collection<KeyedStateHandle> handles, LocalRecoveryConfig local)
            throws Exception {
        this(factory, range, handles, local, MEMORY_BYTES);
    }

    /** With so much managed memory. */
    Subtask(
            StateBackend factory, KeyGroupRange range, Collection<KeyedStateHandle> handles, LocalRecoveryConfig local, long memoryBytes)
            throws Exception {
        this(factory, range, handles, local, memoryBytes, null);
    }

    /** With its temporary files in a folder of the caller's, unless that is null. */
    Subtask(
            StateBackend factory,
            KeyGroupRange range,
            Collection<KeyedStateHandle> handles,
            LocalRecoveryConfig local,
            long memoryBytes,
            IOManager temporary)
            throws Exception {
        TestTaskStateManagerBuilder stateManager = TestTaskStateManager.builder();
        if (local != null) {
            stateManager.setLocalRecoveryConfig(local);
        }
        MockEnvironmentBuilder builder =
                new MockEnvironmentBuilder()
                        .setManagedMemorySize(memoryBytes)
                        .setMaxParallelism(MAX_PARALLELISM)
                        .setTaskStateManager(stateManager.build());
        environment = (temporary == null ? builder : builder.setIOManager(temporary)).build();
        try {
            backend =
                    (AbstractKeyedStateBackend<Integer>)
                            factory.createKeyedStateBackend(
                                    new KeyedStateBackendParametersImpl<>(
                                            environment,
                                            new JobID(),
                                            "op",
                                            IntSerializer.INSTANCE,
                                            MAX_PARALLELISM,
                                            range,
                                            environment.getTaskKvStateRegistry(),
                                            TtlTimeProvider.DEFAULT,
                                            gauges,
                                            (name, value) -> {},
                                            handles,
                                            new CloseableRegistry(),
                                            1.0));
            timers =
                    backend.create(
                            "timers", new TimerSerializer<>(IntSerializer.INSTANCE, VoidNamespaceSerializer.INSTANCE));
        } catch (Exception e) {
            environment.close();
            throw e;
        }
    }

    private ValueState<String> value() throws Exception {
        return backend.getPartitionedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, VALUE);
    }

    private ListState<String> list() throws Exception {
        return backend.getPartitionedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, LIST);
    }

    private MapState<String, Long> map() throws Exception {
        return backend.getPartitionedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, MAP);
    }

    /** What a key has, here or in the model. */
    static final class Content {
        String value;
        List<String> list = new ArrayList<>();
        Map<String, Long> map = new TreeMap<>();

        Content copy() {
            Content copy = new Content();
            copy.value = value;
            copy.list = new ArrayList<>(list);
            copy.map = new TreeMap<>(map);
            return copy;
        }

        @Override
        public String toString() {
            return value + " " + list + " " + map;
        }
    }

    void setValue(int key, String value) throws Exception {
        backend.setCurrentKey(key);
        if (value == null) {
            value().clear();
        } else {
            value().update(value);
        }
    }

    void addToList(int key, String element) throws Exception {
        backend.setCurrentKey(key);
        list().add(element);
    }

    void clearList(int key) throws Exception {
        backend.setCurrentKey(key);
        list().clear();
    }

    void putInMap(int key, String mapKey, Long value) throws Exception {
        backend.setCurrentKey(key);
        if (value == null) {
            map().remove(mapKey);
        } else {
            map().put(mapKey, value);
        }
    }

    void setTimer(int key, long time, boolean present) {
        TimerHeapInternalTimer<Integer, VoidNamespace> timer = new TimerHeapInternalTimer<>(time, key, VoidNamespace.INSTANCE);
        if (present) {
            timers.add(timer);
        } else {
            timers.remove(timer);
        }
    }

    Content read(int key) throws Exception {
        backend.setCurrentKey(key);
        Content content = new Content();
        content.value = value().value();
        Iterable<String> elements = list().get();
        if (elements != null) {
            elements.forEach(content.list::add);
        }
        Iterable<Map.Entry<String, Long>> entries = map().entries();
        if (entries != null) {
            entries.forEach(entry -> content.map.put(entry.getKey(), entry.getValue()));
        }
        return content;
    }

    /** Keys that have a value, by a walk. */
    List<Integer> keysWithValue() {
        try (Stream<Integer> keys = backend.getKeys(VALUE.getName(), VoidNamespace.INSTANCE)) {
            return keys.collect(Collectors.toList());
        }
    }

    TreeSet<String> timers() throws Exception {
        TreeSet<String> all = new TreeSet<>();
        try (org.apache.flink.util.CloseableIterator<TimerHeapInternalTimer<Integer, VoidNamespace>> iterator = timers.iterator()) {
            iterator.forEachRemaining(timer -> all.add(timer.getKey() + "@" + timer.getTimestamp()));
        }
        return all;
    }

    static CheckpointOptions checkpoint() {
        return CheckpointOptions.forCheckpointWithDefaultLocation();
    }

    static CheckpointOptions fullCheckpoint() {
        return new CheckpointOptions(CheckpointType.FULL_CHECKPOINT, CheckpointStorageLocationReference.getDefault());
    }

    static CheckpointOptions savepoint(SavepointFormatType format) {
        return new CheckpointOptions(SavepointType.savepoint(format), CheckpointStorageLocationReference.getDefault());
    }

    RunnableFuture<SnapshotResult<KeyedStateHandle>> begin(long id, CheckpointStreamFactory streams, CheckpointOptions options)
            throws Exception {
        return backend.snapshot(id, id, streams, options);
    }

    SnapshotResult<KeyedStateHandle> snapshot(long id, CheckpointStreamFactory streams, CheckpointOptions options)
            throws Exception {
        RunnableFuture<SnapshotResult<KeyedStateHandle>> future = begin(id, streams, options);
        future.run();
        return future.get();
    }

    /** A savepoint in canonical format. */
    KeyedStateHandle canonicalSavepoint(long id, CheckpointStreamFactory streams) throws Exception {
        SavepointResources<Integer> resources = backend.savepoint();
        RunnableFuture<SnapshotResult<KeyedStateHandle>> future =
                new SnapshotStrategyRunner<>(
                                "savepoint",
                                new SavepointSnapshotStrategy<>(resources.getSnapshotResources()),
                                new CloseableRegistry(),
                                SnapshotExecutionType.SYNCHRONOUS)
                        .snapshot(id, id, streams, savepoint(SavepointFormatType.CANONICAL));
        return future.get().getJobManagerOwnedSnapshot();
    }

    @Override
    public void close() throws Exception {
        backend.dispose();
        environment.close();
    }
}
