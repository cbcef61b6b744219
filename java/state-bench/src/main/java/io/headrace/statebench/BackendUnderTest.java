package io.headrace.statebench;

import java.io.File;
import java.io.IOException;
import java.util.List;
import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.execution.Environment;
import org.apache.flink.runtime.state.CheckpointableKeyedStateBackend;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateBackendParametersImpl;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.StateBackendLoader;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A keyed backend made by configuration alone, as a task makes it: `--conf state.backend.type=...` names it, so any
 * backend works. One operator has the whole slot's managed memory (`--managed-bytes`).
 */
public final class BackendUnderTest<K> implements AutoCloseable {

    /** Flink's default maximum parallelism for small jobs. */
    public static final int KEY_GROUPS = 128;

    private static final KeyGroupRange ALL_KEY_GROUPS = KeyGroupRange.of(0, KEY_GROUPS - 1);
    private static final Logger LOG = LoggerFactory.getLogger(BackendUnderTest.class);
    private static final long MANAGED_BYTES_DEFAULT = 1L << 30;

    private final StateBackend factory;
    private final TypeSerializer<K> keys;
    private final CheckpointableKeyedStateBackend<K> backend;
    private final Environment environment;

    private final Gauges gauges;

    private BackendUnderTest(StateBackend factory, Environment environment, KeyedStateBackendParametersImpl<K> parameters) throws Exception {
        this.factory = factory;
        this.keys = parameters.getKeySerializer();
        this.environment = environment;
        this.gauges = (Gauges) parameters.getMetricGroup();
        this.backend = factory.createKeyedStateBackend(parameters);
    }

    /** Loads the configured backend; local files go to `--folder`. */
    public static <K> BackendUnderTest<K> open(Arguments arguments, TypeSerializer<K> keys) throws Exception {
        return open(arguments, keys, ALL_KEY_GROUPS, List.of());
    }

    /** The same for a subtask: its key groups, and the checkpoints whose key groups are in part its own. */
    public static <K> BackendUnderTest<K> open(
            Arguments arguments, TypeSerializer<K> keys, KeyGroupRange range, List<KeyedStateHandle> handles) throws Exception {
        StateBackend made = factory(arguments);
        Environment environment = environment(arguments);
        return new BackendUnderTest<>(made, environment, parameters(environment, keys, range, handles));
    }

    static StateBackend factory(Arguments arguments) throws Exception {
        Configuration configuration = Configuration.fromMap(arguments.pairs("conf"));
        return StateBackendLoader.loadStateBackendFromConfig(configuration, BackendUnderTest.class.getClassLoader(), LOG);
    }

    static Environment environment(Arguments arguments) throws IOException {
        File folder = new File(arguments.required("folder"));
        if (!folder.isDirectory() && !folder.mkdirs()) {
            throw new IOException("cannot make folder, path=`" + folder + "`");
        }
        long managedBytes = arguments.number("managed-bytes", MANAGED_BYTES_DEFAULT);
        return BenchEnvironment.create(Configuration.fromMap(arguments.pairs("conf")), folder, managedBytes);
    }

    /** Gives this backend up and restores another one from the checkpoint, as a task does that runs again on its TaskManager. */
    public BackendUnderTest<K> restored(KeyedStateHandle checkpoint) throws Exception {
        backend.dispose();
        return new BackendUnderTest<>(factory, environment, parameters(environment, keys, List.of(checkpoint)));
    }

    static <K> KeyedStateBackendParametersImpl<K> parameters(
            Environment environment, TypeSerializer<K> keys, List<KeyedStateHandle> handles) {
        return parameters(environment, keys, ALL_KEY_GROUPS, handles);
    }

    private static <K> KeyedStateBackendParametersImpl<K> parameters(
            Environment environment, TypeSerializer<K> keys, KeyGroupRange range, List<KeyedStateHandle> handles) {
        return new KeyedStateBackendParametersImpl<>(
                environment,
                environment.getJobID(),
                "bench",
                keys,
                KEY_GROUPS,
                range,
                environment.getTaskKvStateRegistry(),
                TtlTimeProvider.DEFAULT,
                new Gauges(),
                (name, value) -> {},
                handles,
                new CloseableRegistry(),
                1.0);
    }

    /** The backend itself. */
    public CheckpointableKeyedStateBackend<K> keyed() {
        return backend;
    }

    /** What the backend tells of itself. */
    public Gauges gauges() {
        return gauges;
    }

    /** A state of the backend in the void namespace, with every wrapper that an operator would get. */
    public <S extends State> S state(StateDescriptor<S, ?> descriptor) throws Exception {
        return backend.getPartitionedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, descriptor);
    }

    /** Waits until the backend has no background work left; at most `SETTLE_MS_MAX`. */
    public void settle() throws Exception {
        Settling.await(backend);
    }

    @Override
    public void close() throws Exception {
        backend.dispose();
        environment.getIOManager().close();
    }
}
