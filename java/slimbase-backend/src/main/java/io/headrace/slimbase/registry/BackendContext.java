package io.headrace.slimbase.registry;

import io.headrace.slimbase.cold.LocalColdStore;
import io.headrace.slimbase.engine.SlimEngine;
import java.util.concurrent.ExecutorService;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.state.HeapPriorityQueuesManager;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.StateSerializerProvider;
import org.apache.flink.runtime.state.StreamCompressionDecorator;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;

/**
 * What the parts of one backend share: the engine, the register of states, the range of key groups, and what Flink gave. Set by the
 * builder, step by step, before anybody else sees it; not changed afterwards.
 */
public final class BackendContext<K> {
    private final SlimEngine engine;
    private final StateRegistry registry;
    private final StateSerializerProvider<K> keySerializerProvider;
    private final KeyGroupRange keyGroupRange;
    private final int numberOfKeyGroups;
    private final HeapPriorityQueuesManager queuesManager;
    private TtlTimeProvider ttlTimeProvider = TtlTimeProvider.DEFAULT;
    private ClassLoader userClassLoader;
    private StreamCompressionDecorator keyGroupCompression;
    private CloseableRegistry cancelRegistry;
    private LocalRecoveryConfig localRecovery;
    private ExecutorService ioExecutor;
    private LocalColdStore coldStore;

    /** The parts that no backend can do without. */
    public BackendContext(
            SlimEngine engine,
            StateRegistry registry,
            StateSerializerProvider<K> keySerializerProvider,
            HeapPriorityQueuesManager queuesManager,
            KeyGroups keyGroups) {
        this.engine = engine;
        this.registry = registry;
        this.keySerializerProvider = keySerializerProvider;
        this.queuesManager = queuesManager;
        this.keyGroupRange = keyGroups.range();
        this.numberOfKeyGroups = keyGroups.total();
    }

    /** The user's side: class loader and clock. */
    public BackendContext<K> withUser(ClassLoader loader, TtlTimeProvider clock) {
        this.userClassLoader = loader;
        this.ttlTimeProvider = clock;
        return this;
    }

    /** How snapshots are written and where; `executor` may be null. */
    public BackendContext<K> withSnapshots(
            StreamCompressionDecorator compression, LocalRecoveryConfig local, CloseableRegistry cancel, ExecutorService executor) {
        this.keyGroupCompression = compression;
        this.localRecovery = local;
        this.cancelRegistry = cancel;
        this.ioExecutor = executor;
        return this;
    }

    /** Where state goes that memory has no room for; null: nowhere. */
    public BackendContext<K> withFiles(LocalColdStore store) {
        this.coldStore = store;
        return this;
    }

    public SlimEngine engine() {
        return engine;
    }

    public StateRegistry registry() {
        return registry;
    }

    /** Knows the key serializer that wrote a restored checkpoint beside the present one. */
    public StateSerializerProvider<K> keySerializerProvider() {
        return keySerializerProvider;
    }

    /** The key serializer to use now; final once everything is restored. */
    public TypeSerializer<K> keySerializer() {
        return keySerializerProvider.currentSchemaSerializer();
    }

    public KeyGroupRange keyGroupRange() {
        return keyGroupRange;
    }

    public int numberOfKeyGroups() {
        return numberOfKeyGroups;
    }

    /** Makes timer queues; works on {@link StateRegistry#queues()}. */
    public HeapPriorityQueuesManager queuesManager() {
        return queuesManager;
    }

    public TtlTimeProvider ttlTimeProvider() {
        return ttlTimeProvider;
    }

    public ClassLoader userClassLoader() {
        return userClassLoader;
    }

    /** How Flink compresses key groups of canonical savepoints. */
    public StreamCompressionDecorator keyGroupCompression() {
        return keyGroupCompression;
    }

    /** Streams opened while restoring are registered here. */
    public CloseableRegistry cancelRegistry() {
        return cancelRegistry;
    }

    public LocalRecoveryConfig localRecovery() {
        return localRecovery;
    }

    /** Opens files of a restored checkpoint; null when everything has to be in memory. */
    public LocalColdStore coldStore() {
        return coldStore;
    }

    /** For transfers in the background; null in tests without one. */
    public ExecutorService ioExecutor() {
        return ioExecutor;
    }
}
