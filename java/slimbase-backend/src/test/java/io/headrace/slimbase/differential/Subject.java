package io.headrace.slimbase.differential;

import io.headrace.slimbase.suites.SuiteBackends;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Future;
import java.util.concurrent.RunnableFuture;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.operators.testutils.MockEnvironment;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.AbstractStateBackend;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SharedStateRegistry;
import org.apache.flink.runtime.state.SharedStateRegistryImpl;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.storage.FileSystemCheckpointStorage;
import org.apache.flink.runtime.state.ttl.MockTtlTimeProvider;
import org.apache.flink.streaming.api.operators.StreamOperatorStateHandler;
import org.apache.flink.streaming.api.operators.TimerHeapInternalTimer;
import org.apache.flink.streaming.api.operators.TimerSerializer;

/** An operator of several subtasks on one kind of backend. */
final class Subject<K> {
    static final int KEY_GROUPS = 12;
    static final long MEMORY_BYTES = 64L << 20;

    private final String name;
    private final long memoryBytes;
    private final AbstractStateBackend backend;
    private final TypeSerializer<K> keySerializer;
    private final MockTtlTimeProvider clock;
    private final CheckpointStreamFactory streams;
    private final SharedStateRegistry shared = new SharedStateRegistryImpl();
    private final List<Subtask<K>> subtasks = new ArrayList<>();

    /** One subtask's backend, its environment, its timers. */
    static final class Subtask<K> {
        final MockEnvironment environment;
        final AbstractKeyedStateBackend<K> backend;
        final KeyGroupedInternalPriorityQueue<TimerHeapInternalTimer<K, VoidNamespace>> timers;
        final Gauges gauges;

        private Subtask(MockEnvironment environment, AbstractKeyedStateBackend<K> backend, Gauges gauges) {
            this.gauges = gauges;
            this.environment = environment;
            this.backend = backend;
            this.timers = backend.create("timers", new TimerSerializer<>(backend.getKeySerializer(), VoidNamespaceSerializer.INSTANCE));
        }

        private void close() throws Exception {
            backend.close();
            backend.dispose();
            environment.close();
        }
    }

    /** Keyed state of all subtasks at one point. */
    static final class Snapshot {
        final long id;
        private final List<Future<KeyedStateHandle>> handles;

        private Snapshot(long id, List<Future<KeyedStateHandle>> handles) {
            this.id = id;
            this.handles = handles;
        }

        List<KeyedStateHandle> handles() throws Exception {
            List<KeyedStateHandle> all = new ArrayList<>();
            for (Future<KeyedStateHandle> handle : handles) {
                if (handle.get() != null) {
                    all.add(handle.get());
                }
            }
            return all;
        }
    }

    Subject(String name, AbstractStateBackend backend, TypeSerializer<K> keySerializer, MockTtlTimeProvider clock, Path folder)
            throws Exception {
        this(name, backend, keySerializer, clock, folder, MEMORY_BYTES);
    }

    /** With so much managed memory for each subtask. */
    Subject(
            String name,
            AbstractStateBackend backend,
            TypeSerializer<K> keySerializer,
            MockTtlTimeProvider clock,
            Path folder,
            long memoryBytes)
            throws Exception {
        this(name, backend, keySerializer, clock, folder.toUri().toString(), memoryBytes);
    }

    /** With its checkpoints on any file system that Flink knows. */
    Subject(
            String name,
            AbstractStateBackend backend,
            TypeSerializer<K> keySerializer,
            MockTtlTimeProvider clock,
            String checkpoints,
            long memoryBytes)
            throws Exception {
        this.name = name;
        this.memoryBytes = memoryBytes;
        this.backend = backend;
        this.keySerializer = keySerializer;
        this.clock = clock;
        var storage = new FileSystemCheckpointStorage(checkpoints).createCheckpointStorage(new JobID());
        storage.initializeBaseLocationsForCheckpoint();
        this.streams = storage.resolveCheckpointStorageLocation(1L, CheckpointStorageLocationReference.getDefault());
    }

    String name() {
        return name;
    }

    /** Closes what runs and starts anew from the handles of any subject. */
    void start(int parallelism, Collection<KeyedStateHandle> handles) throws Exception {
        stop();
        for (int i = 0; i < parallelism; i++) {
            KeyGroupRange range = KeyGroupRangeAssignment.computeKeyGroupRangeForOperatorIndex(KEY_GROUPS, parallelism, i);
            List<KeyedStateHandle> own = new ArrayList<>();
            for (KeyedStateHandle handle : handles) {
                KeyedStateHandle part = handle.getIntersection(range);
                if (part != null) {
                    own.add(part);
                }
            }
            MockEnvironment environment = MockEnvironment.builder().setManagedMemorySize(memoryBytes).build();
            Gauges gauges = new Gauges();
            subtasks.add(
                    new Subtask<>(
                            environment,
                            SuiteBackends.keyed(backend, environment, keySerializer.duplicate(), KEY_GROUPS, range, clock, own, gauges),
                            gauges));
        }
    }

    void stop() throws Exception {
        for (Subtask<K> subtask : subtasks) {
            subtask.close();
        }
        subtasks.clear();
    }

    List<Subtask<K>> subtasks() {
        return subtasks;
    }

    /** The subtask of the key, with the key set. */
    Subtask<K> at(K key) {
        int keyGroup = KeyGroupRangeAssignment.assignToKeyGroup(key, KEY_GROUPS);
        int index = KeyGroupRangeAssignment.computeOperatorIndexForKeyGroup(KEY_GROUPS, subtasks.size(), keyGroup);
        Subtask<K> subtask = subtasks.get(index);
        subtask.backend.setCurrentKey(key);
        return subtask;
    }

    /** Takes all timers out, subtask by subtask in order of time. */
    List<String> drainTimers() {
        List<String> all = new ArrayList<>();
        for (Subtask<K> subtask : subtasks) {
            for (var timer = subtask.timers.poll(); timer != null; timer = subtask.timers.poll()) {
                all.add(timer.getTimestamp() + " " + timer.getKey());
            }
        }
        return all;
    }

    /** Starts a checkpoint; its asynchronous part runs beside what follows. */
    Snapshot checkpoint(long id, CheckpointOptions options, ExecutorService executor) throws Exception {
        List<Future<KeyedStateHandle>> handles = new ArrayList<>();
        for (Subtask<K> subtask : subtasks) {
            handles.add(run(subtask.backend.snapshot(id, id, streams, options), id, executor));
        }
        return new Snapshot(id, handles);
    }

    Snapshot savepoint(long id, ExecutorService executor) throws Exception {
        CheckpointOptions options =
                new CheckpointOptions(SavepointType.savepoint(SavepointFormatType.CANONICAL), CheckpointStorageLocationReference.getDefault());
        List<Future<KeyedStateHandle>> handles = new ArrayList<>();
        for (Subtask<K> subtask : subtasks) {
            handles.add(
                    run(
                            cast(StreamOperatorStateHandler.prepareCanonicalSavepoint(subtask.backend, new CloseableRegistry())
                                    .snapshot(id, id, streams, options)),
                            id,
                            executor));
        }
        return new Snapshot(id, handles);
    }

    @SuppressWarnings("unchecked")
    private static RunnableFuture<SnapshotResult<KeyedStateHandle>> cast(Object future) {
        return (RunnableFuture<SnapshotResult<KeyedStateHandle>>) future;
    }

    private Future<KeyedStateHandle> run(RunnableFuture<SnapshotResult<KeyedStateHandle>> future, long id, ExecutorService executor) {
        return executor.submit(
                () -> {
                    future.run();
                    KeyedStateHandle handle = future.get().getJobManagerOwnedSnapshot();
                    if (handle != null) {
                        synchronized (shared) {
                            handle.registerSharedStates(shared, id);
                        }
                    }
                    return handle;
                });
    }

    void confirm(long id) throws Exception {
        for (Subtask<K> subtask : subtasks) {
            subtask.backend.notifyCheckpointComplete(id);
        }
    }

    void abort(long id) throws Exception {
        for (Subtask<K> subtask : subtasks) {
            subtask.backend.notifyCheckpointAborted(id);
        }
    }
}
