package io.headrace.slimbase.suites;

import io.headrace.slimbase.SlimBaseOptions;
import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.SlimBaseStateBackend;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.runtime.execution.Environment;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.AbstractStateBackend;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateBackendParametersImpl;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.ttl.MockTtlTimeProvider;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;

/** The backends that suites and differential tests run on. */
public final class SuiteBackends {
    private SuiteBackends() {}

    /** With the native library where it was built, or in pure Java. */
    public static SlimBaseStateBackend slimBase(NativeMode mode) {
        Configuration config = new Configuration();
        config.set(SlimBaseOptions.NATIVE, mode);
        return new SlimBaseStateBackend().configure(config, SuiteBackends.class.getClassLoader());
    }

    /** With memory of its own. */
    public static SlimBaseStateBackend slimBase(NativeMode mode, MemorySize fixed) {
        Configuration config = new Configuration();
        config.set(SlimBaseOptions.NATIVE, mode);
        config.set(SlimBaseOptions.FIXED_PER_SLOT, fixed);
        return new SlimBaseStateBackend().configure(config, SuiteBackends.class.getClassLoader());
    }

    /** Files that a completed checkpoint has stay there. */
    public static SlimBaseStateBackend leavingFilesInCheckpoints(MemorySize cache) {
        Configuration config = new Configuration();
        config.set(SlimBaseOptions.CHECKPOINT_FILES_CACHE, cache);
        return new SlimBaseStateBackend().configure(config, SuiteBackends.class.getClassLoader());
    }

    /** A keyed backend of any kind, restored from the handles. */
    public static <K> AbstractKeyedStateBackend<K> keyed(
            AbstractStateBackend backend,
            Environment environment,
            TypeSerializer<K> keySerializer,
            int keyGroups,
            KeyGroupRange range,
            TtlTimeProvider clock,
            Collection<KeyedStateHandle> handles)
            throws Exception {
        return keyed(backend, environment, keySerializer, keyGroups, range, clock, handles, new UnregisteredMetricsGroup());
    }

    /** SlimBase as it is by default, for all key groups and keys that are longs, with nothing restored. */
    public static AbstractKeyedStateBackend<Long> slimBaseOfLongs(Environment environment, int keyGroups) throws Exception {
        return keyed(
                slimBase(NativeMode.AUTO),
                environment,
                LongSerializer.INSTANCE,
                keyGroups,
                new KeyGroupRange(0, keyGroups - 1),
                new MockTtlTimeProvider(),
                List.of());
    }

    /** With its metrics in a group of the caller's. */
    public static <K> AbstractKeyedStateBackend<K> keyed(
            AbstractStateBackend backend,
            Environment environment,
            TypeSerializer<K> keySerializer,
            int keyGroups,
            KeyGroupRange range,
            TtlTimeProvider clock,
            Collection<KeyedStateHandle> handles,
            MetricGroup metrics)
            throws Exception {
        return backend.createKeyedStateBackend(
                new KeyedStateBackendParametersImpl<>(
                        environment,
                        new JobID(),
                        "operator",
                        keySerializer,
                        keyGroups,
                        range,
                        environment.getTaskKvStateRegistry(),
                        clock,
                        metrics,
                        (name, value) -> {},
                        handles,
                        new CloseableRegistry(),
                        1.0));
    }
}
