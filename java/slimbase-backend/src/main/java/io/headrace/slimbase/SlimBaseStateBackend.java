package io.headrace.slimbase;

import io.headrace.slimbase.engine.Allocator;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.engine.UnsafeAllocator;
import io.headrace.slimbase.nativelib.NativeAllocator;
import java.io.IOException;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.runtime.memory.MemoryManager;
import org.apache.flink.runtime.memory.OpaqueMemoryResource;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.AbstractManagedMemoryStateBackend;
import org.apache.flink.runtime.state.AsyncKeyedStateBackend;
import org.apache.flink.runtime.state.ConfigurableStateBackend;
import org.apache.flink.runtime.state.DefaultOperatorStateBackendBuilder;
import org.apache.flink.runtime.state.OperatorStateBackend;

/**
 * SlimBase: keyed state outside the heap, in the slot's managed memory, with incremental checkpoints. Operator state is Flink's own.
 *
 * <p>Named by {@code state.backend.type: io.headrace.slimbase.SlimBaseStateBackendFactory}; the jar may be in {@code lib} or in {@code pipeline.jars}. See
 * docs/concepts/slimbase-format.md for how state is kept, and {@link SlimBaseOptions} for the few options.
 */
public final class SlimBaseStateBackend extends AbstractManagedMemoryStateBackend implements ConfigurableStateBackend {
    /** How the backend is named in logs and in the web UI. */
    public static final String NAME = "slimbase";

    private static final long serialVersionUID = 1L;
    private static final String MEMORY_TYPE = "slimbase-managed-memory";
    private static final String FIXED_MEMORY_TYPE = "slimbase-fixed-memory";
    private static final MemorySize LEAST = MemorySize.ofMebiBytes(16);

    /** Null: the slot's managed memory. */
    private final MemorySize fixedPerSlot;
    private final SlimBaseOptions.NativeMode nativeMode;
    /** For files that stay in checkpoints; null when none do. */
    private final MemorySize checkpointFilesCache;

    public SlimBaseStateBackend() {
        this(null, SlimBaseOptions.NATIVE.defaultValue(), null);
    }

    private SlimBaseStateBackend(MemorySize fixedPerSlot, SlimBaseOptions.NativeMode nativeMode, MemorySize checkpointFilesCache) {
        this.fixedPerSlot = fixedPerSlot;
        this.nativeMode = nativeMode;
        this.checkpointFilesCache = checkpointFilesCache;
    }

    @Override
    public SlimBaseStateBackend configure(ReadableConfig config, ClassLoader classLoader) {
        MemorySize fixed = config.getOptional(SlimBaseOptions.FIXED_PER_SLOT).orElse(fixedPerSlot);
        if (fixed != null && fixed.compareTo(LEAST) < 0) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Invalid,
                    "memory is too little, option=`" + SlimBaseOptions.FIXED_PER_SLOT.key() + "`, value=" + fixed + ", least=" + LEAST,
                    "raise the option, or leave it out to use managed memory",
                    null);
        }
        SlimBaseStateBackend configured =
                new SlimBaseStateBackend(
                        fixed,
                        config.getOptional(SlimBaseOptions.NATIVE).orElse(nativeMode),
                        config.getOptional(SlimBaseOptions.CHECKPOINT_FILES_CACHE).orElse(checkpointFilesCache));
        configured.latencyTrackingConfigBuilder = latencyTrackingConfigBuilder.configure(config);
        configured.sizeTrackingConfigBuilder = sizeTrackingConfigBuilder.configure(config);
        return configured;
    }

    @Override
    public String getName() {
        return NAME;
    }

    @Override
    public boolean useManagedMemory() {
        return fixedPerSlot == null;
    }

    @Override
    public boolean supportsNoClaimRestoreMode() {
        return true;
    }

    @Override
    public boolean supportsSavepointFormat(SavepointFormatType formatType) {
        return true;
    }

    @Override
    public boolean supportsAsyncKeyedStateBackend() {
        return true;
    }

    @Override
    public <K> AsyncKeyedStateBackend<K> createAsyncKeyedStateBackend(KeyedStateBackendParameters<K> parameters) throws IOException {
        return new AsyncSlimKeyedStateBackend<>(createBackend(parameters));
    }

    @Override
    public <K> AbstractKeyedStateBackend<K> createKeyedStateBackend(KeyedStateBackendParameters<K> parameters) throws IOException {
        return createBackend(parameters);
    }

    private <K> SlimKeyedStateBackend<K> createBackend(KeyedStateBackendParameters<K> parameters) throws IOException {
        OpaqueMemoryResource<SharedBudget> lease;
        try {
            lease = budget(parameters.getEnv().getMemoryManager(), parameters.getManagedMemoryFraction());
        } catch (Exception e) {
            throw new IOException("memory for state cannot be had, operator=`" + parameters.getOperatorIdentifier() + "`", e);
        }
        return new SlimKeyedStateBackendBuilder<>(parameters, getCompressionDecorator(parameters.getEnv().getExecutionConfig()))
                .withMemory(lease, allocator())
                .withCheckpointFilesCache(checkpointFilesCache)
                .withTracking(
                        latencyTrackingConfigBuilder.setMetricGroup(parameters.getMetricGroup()).build(),
                        sizeTrackingConfigBuilder.setMetricGroup(parameters.getMetricGroup()).build())
                .build();
    }

    /** The budget that all operators of the slot share. */
    private OpaqueMemoryResource<SharedBudget> budget(MemoryManager manager, double fraction) throws Exception {
        if (fixedPerSlot != null) {
            return manager.getExternalSharedMemoryResource(FIXED_MEMORY_TYPE, SharedBudget::new, fixedPerSlot.getBytes());
        }
        return manager.getSharedMemoryResourceForManagedMemory(MEMORY_TYPE, SharedBudget::new, fraction);
    }

    private Allocator allocator() {
        if (nativeMode == SlimBaseOptions.NativeMode.OFF) {
            return new UnsafeAllocator();
        }
        Allocator best = NativeAllocator.best();
        if (nativeMode == SlimBaseOptions.NativeMode.ON && !best.isNative()) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unsupported,
                    "native library is missing, option=`" + SlimBaseOptions.NATIVE.key() + "`, value=ON",
                    "set the option to AUTO, or see the log for why the library was not loaded",
                    null);
        }
        return best;
    }

    @Override
    public OperatorStateBackend createOperatorStateBackend(OperatorStateBackendParameters parameters) throws Exception {
        return new DefaultOperatorStateBackendBuilder(
                        parameters.getEnv().getUserCodeClassLoader().asClassLoader(),
                        parameters.getEnv().getExecutionConfig(),
                        true,
                        parameters.getStateHandles(),
                        parameters.getCancelStreamRegistry())
                .build();
    }
}
