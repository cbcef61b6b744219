package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.MemoryBudget;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.engine.UnsafeAllocator;
import io.headrace.slimbase.registry.BackendContext;
import io.headrace.slimbase.registry.KeyGroups;
import io.headrace.slimbase.registry.StateKind;
import io.headrace.slimbase.registry.StateRegistry;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.RunnableFuture;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.state.HeapPriorityQueuesManager;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.SnapshotExecutionType;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.SnapshotStrategyRunner;
import org.apache.flink.runtime.state.StateSerializerProvider;
import org.apache.flink.runtime.state.UncompressedStreamCompressionDecorator;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueSetFactory;
import org.apache.flink.runtime.state.memory.MemCheckpointStreamFactory;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Takes a checkpoint of one record in memory, once in a JVM, so that the first real barrier finds its classes loaded and its lambdas linked: some fifty
 * of them made its synchronous part 7 to 30 ms long, where later ones take 0.3.
 *
 * <p>Runs in a thread of its own while the task that built the first backend goes on; about 0.1 s of CPU. When it fails, nothing is lost but that.
 */
public final class WarmUp {
    private static final Logger LOG = LoggerFactory.getLogger(WarmUp.class);
    private static final long BUDGET_BYTES = 1 << 20;
    private static final CountDownLatch DONE = begin();

    private WarmUp() {}

    /** Begins at the first call. Returns at once; the latch is open when it is over. */
    public static CountDownLatch start() {
        return DONE;
    }

    private static CountDownLatch begin() {
        CountDownLatch done = new CountDownLatch(1);
        Thread thread =
                new Thread(
                        () -> {
                            try {
                                checkpoint();
                            } catch (Exception | LinkageError e) {
                                LOG.warn("warming up failed: the first checkpoint's barrier will take longer", e);
                            } finally {
                                done.countDown();
                            }
                        },
                        "slimbase-warm-up");
        thread.setDaemon(true);
        thread.start();
        return done;
    }

    private static void checkpoint() throws Exception {
        StateRegistry registry = new StateRegistry();
        long key = Memory.allocate(Long.BYTES);
        try (SlimEngine engine = new SlimEngine(new MemoryBudget(BUDGET_BYTES), new UnsafeAllocator(), 0, 1, registry);
                CloseableRegistry cancel = new CloseableRegistry()) {
            registry.register(
                    "warm-up",
                    StateKind.VALUE,
                    new RegisteredKeyValueStateBackendMetaInfo<>(
                            StateDescriptor.Type.VALUE, "warm-up", VoidNamespaceSerializer.INSTANCE, LongSerializer.INSTANCE),
                    0);
            Memory.putLong(key, 0);
            engine.put(0, 0, key, Long.BYTES, key, Long.BYTES);
            BackendContext<Long> context = context(engine, registry, cancel);
            try (SlimCheckpointStrategy<Long> strategy =
                    new SlimCheckpointStrategy<>(context, SlimRestore.restore(context, List.of()))) {
                RunnableFuture<SnapshotResult<KeyedStateHandle>> snapshot =
                        new SnapshotStrategyRunner<>("warm-up", strategy, cancel, SnapshotExecutionType.ASYNCHRONOUS)
                                .snapshot(
                                        1,
                                        0,
                                        new MemCheckpointStreamFactory((int) BUDGET_BYTES),
                                        CheckpointOptions.forCheckpointWithDefaultLocation());
                snapshot.run();
                snapshot.get();
            }
        } finally {
            Memory.free(key);
        }
    }

    private static BackendContext<Long> context(SlimEngine engine, StateRegistry registry, CloseableRegistry cancel) {
        KeyGroups keyGroups = new KeyGroups(KeyGroupRange.of(0, 0), 1);
        HeapPriorityQueuesManager queues =
                new HeapPriorityQueuesManager(
                        registry.queues(), new HeapPriorityQueueSetFactory(keyGroups.range(), 1, 1), keyGroups.range(), 1);
        return new BackendContext<>(
                        engine, registry, StateSerializerProvider.fromNewRegisteredSerializer(LongSerializer.INSTANCE), queues, keyGroups)
                .withUser(WarmUp.class.getClassLoader(), TtlTimeProvider.DEFAULT)
                .withSnapshots(
                        UncompressedStreamCompressionDecorator.INSTANCE, LocalRecoveryConfig.BACKUP_AND_RECOVERY_DISABLED, cancel, null);
    }
}
