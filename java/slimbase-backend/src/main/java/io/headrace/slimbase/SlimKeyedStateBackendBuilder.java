package io.headrace.slimbase;

import io.headrace.slimbase.cold.LocalColdStore;
import io.headrace.slimbase.engine.Allocator;
import io.headrace.slimbase.engine.KeyGroupSpan;
import io.headrace.slimbase.engine.MemoryBudget;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.engine.TierStatistics;
import io.headrace.slimbase.registry.BackendContext;
import io.headrace.slimbase.registry.KeyGroups;
import io.headrace.slimbase.registry.StateRegistry;
import io.headrace.slimbase.snapshot.RestoredState;
import io.headrace.slimbase.snapshot.SlimCheckpointStrategy;
import io.headrace.slimbase.snapshot.SlimRestore;
import io.headrace.slimbase.snapshot.StateExpiry;
import io.headrace.slimbase.snapshot.WarmUp;
import java.io.File;
import java.nio.file.Path;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.runtime.execution.CancelTaskException;
import org.apache.flink.runtime.memory.OpaqueMemoryResource;
import org.apache.flink.runtime.state.BackendBuildingException;
import org.apache.flink.runtime.state.HeapPriorityQueuesManager;
import org.apache.flink.runtime.state.InternalKeyContextImpl;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.StateBackend.KeyedStateBackendParameters;
import org.apache.flink.runtime.state.StateSerializerProvider;
import org.apache.flink.runtime.state.StreamCompressionDecorator;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueSetFactory;
import org.apache.flink.runtime.state.metrics.LatencyTrackingStateConfig;
import org.apache.flink.runtime.state.metrics.SizeTrackingStateConfig;
import org.apache.flink.util.IOUtils;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Builds a backend: memory, engine, what is restored, then the backend over it. What was opened is closed when a step fails. */
final class SlimKeyedStateBackendBuilder<K> {
    private static final Logger LOG = LoggerFactory.getLogger(SlimKeyedStateBackendBuilder.class);
    /** Timers that a queue has room for at first. */
    private static final int QUEUE_CAPACITY = 128;

    private static final AtomicLong NEXT_DIRECTORY = new AtomicLong();

    private final KeyedStateBackendParameters<K> parameters;
    private final StreamCompressionDecorator keyGroupCompression;
    private OpaqueMemoryResource<SharedBudget> lease;
    private Allocator allocator;
    private LatencyTrackingStateConfig latencyTracking;
    private SizeTrackingStateConfig sizeTracking;
    private long checkpointFilesCacheBytes;

    SlimKeyedStateBackendBuilder(KeyedStateBackendParameters<K> parameters, StreamCompressionDecorator keyGroupCompression) {
        this.parameters = parameters;
        this.keyGroupCompression = keyGroupCompression;
    }

    SlimKeyedStateBackendBuilder<K> withMemory(OpaqueMemoryResource<SharedBudget> budgetLease, Allocator memory) {
        this.lease = budgetLease;
        this.allocator = memory;
        return this;
    }

    /** How much disk files in checkpoints may take here; null: they are copied to this machine. */
    SlimKeyedStateBackendBuilder<K> withCheckpointFilesCache(MemorySize size) {
        this.checkpointFilesCacheBytes = size == null ? 0 : Math.max(1, size.getBytes());
        return this;
    }

    SlimKeyedStateBackendBuilder<K> withTracking(LatencyTrackingStateConfig latency, SizeTrackingStateConfig size) {
        this.latencyTracking = latency;
        this.sizeTracking = size;
        return this;
    }

    SlimKeyedStateBackend<K> build() throws BackendBuildingException {
        WarmUp.start();
        KeyGroupRange range = parameters.getKeyGroupRange();
        MemoryBudget budget = lease.getResourceHandle().budget();
        StateRegistry registry = new StateRegistry();
        LocalColdStore store =
                new LocalColdStore(fileDirectory(), new StateExpiry(registry, parameters.getTtlTimeProvider()), checkpointFilesCacheBytes);
        KeyGroupSpan keyGroups = new KeyGroupSpan(range.getStartKeyGroup(), range.getNumberOfKeyGroups());
        SlimEngine engine = new SlimEngine(budget, allocator, keyGroups, registry, store);
        BackendResources resources = new BackendResources(engine, allocator.isNative(), lease);
        CloseableRegistry cancelRegistry = new CloseableRegistry();
        try {
            BackendContext<K> context = context(engine, registry).withFiles(store);
            RestoredState restored = SlimRestore.restore(context, parameters.getStateHandles());
            SlimKeyedStateBackend<K> backend =
                    new SlimKeyedStateBackend<>(
                            baseParameters(cancelRegistry), context, new SlimCheckpointStrategy<>(context, restored), resources);
            addMetrics(budget, engine.tierStatistics());
            addRestoreMetrics(store);
            LOG.info(
                    "backend built, operator=`{}`, key_groups={}, budget_bytes={}, native={}",
                    parameters.getOperatorIdentifier(),
                    range,
                    budget.limitBytes(),
                    allocator.isNative());
            return backend;
        } catch (Exception e) {
            IOUtils.closeQuietly(cancelRegistry);
            resources.close();
            throw failure(e);
        }
    }

    private void addMetrics(MemoryBudget budget, TierStatistics tiers) {
        MetricGroup group = parameters.getMetricGroup().addGroup("slimbase");
        group.gauge("memoryUsedBytes", budget::usedBytes);
        group.gauge("memoryLimitBytes", budget::limitBytes);
        group.gauge("records", tiers::records);
        group.gauge("recordBytes", tiers::recordBytes);
        group.gauge("liveBytes", tiers::liveBytes);
        group.gauge("indexBytes", tiers::indexBytes);
        group.gauge("fileIndexBytes", tiers::fileIndexBytes);
        group.gauge("cacheBytes", tiers::cacheBytes);
        group.gauge("fileBytes", tiers::fileBytes);
        group.gauge("deadFileBytes", tiers::deadFileBytes);
        group.gauge("fileCount", tiers::fileCount);
        group.gauge("runCount", tiers::runCount);
        group.gauge("lookups", tiers::lookups);
        group.gauge("fileLookups", tiers::fileLookups);
        group.gauge("fileReads", tiers::fileReads);
        group.gauge("falseFileReads", tiers::falseFileReads);
        group.gauge("promotions", tiers::promotions);
        group.gauge("packedBytes", tiers::packedBytes);
        group.gauge("mergedBytes", tiers::mergedBytes);
        group.gauge("expiredFiles", tiers::expiredFiles);
        group.gauge("expiredFileBytes", tiers::expiredFileBytes);
        group.gauge("mergeDebtBytes", tiers::mergeDebtBytes);
        group.gauge("mergeFailures", tiers::mergeFailures);
        group.gauge("appendedBytes", tiers::appendedBytes);
        group.gauge("stallMs", tiers::stallMs);
    }

    private void addRestoreMetrics(LocalColdStore store) {
        MetricGroup group = parameters.getMetricGroup().addGroup("slimbase");
        group.gauge("mergeLimitBytesPerS", store::mergeLimitBytesPerS);
        group.gauge("restoredFilesLeft", store::restoredFilesLeft);
        group.gauge("rangeFetches", store::rangeFetches);
        group.gauge("rangeFetchedBytes", store::rangeFetchedBytes);
    }

    /** One of the machine's folders for temporary files, in turn. */
    private Path fileDirectory() {
        File[] directories = parameters.getEnv().getIOManager().getSpillingDirectories();
        File directory = directories[(int) (NEXT_DIRECTORY.getAndIncrement() % directories.length)];
        return directory.toPath().resolve("slimbase-" + UUID.randomUUID());
    }

    private BackendContext<K> context(SlimEngine engine, StateRegistry registry) {
        KeyGroups keyGroups = new KeyGroups(parameters.getKeyGroupRange(), parameters.getNumberOfKeyGroups());
        HeapPriorityQueuesManager queues =
                new HeapPriorityQueuesManager(
                        registry.queues(),
                        new HeapPriorityQueueSetFactory(keyGroups.range(), keyGroups.total(), QUEUE_CAPACITY),
                        keyGroups.range(),
                        keyGroups.total());
        return new BackendContext<>(
                        engine,
                        registry,
                        StateSerializerProvider.fromNewRegisteredSerializer(parameters.getKeySerializer()),
                        queues,
                        keyGroups)
                .withUser(parameters.getEnv().getUserCodeClassLoader().asClassLoader(), parameters.getTtlTimeProvider())
                .withSnapshots(
                        keyGroupCompression,
                        parameters.getEnv().getTaskStateManager().createLocalRecoveryConfig(),
                        parameters.getCancelStreamRegistry(),
                        parameters.getEnv().getIOManager().getExecutorService());
    }

    private BaseParameters<K> baseParameters(CloseableRegistry cancelRegistry) {
        BaseParameters<K> base = new BaseParameters<>();
        base.kvStateRegistry = parameters.getKvStateRegistry();
        base.executionConfig = parameters.getEnv().getExecutionConfig();
        base.latencyTracking = latencyTracking;
        base.sizeTracking = sizeTracking;
        base.cancelRegistry = cancelRegistry;
        base.keyContext = new InternalKeyContextImpl<>(parameters.getKeyGroupRange(), parameters.getNumberOfKeyGroups());
        return base;
    }

    private BackendBuildingException failure(Exception cause) {
        if (parameters.getCancelStreamRegistry().isClosed()) {
            return new BackendBuildingException("backend was cancelled while it was built", new CancelTaskException(cause));
        }
        if (cause instanceof BackendBuildingException) {
            return (BackendBuildingException) cause;
        }
        return new BackendBuildingException(
                "backend cannot be built, operator=`" + parameters.getOperatorIdentifier() + "`, key_groups=" + parameters.getKeyGroupRange(),
                cause);
    }
}
