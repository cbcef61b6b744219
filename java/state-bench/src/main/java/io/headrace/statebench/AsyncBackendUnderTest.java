package io.headrace.statebench;

import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.state.v2.State;
import org.apache.flink.api.common.state.v2.StateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.core.asyncprocessing.AsyncFutureImpl;
import org.apache.flink.core.asyncprocessing.InternalAsyncFuture;
import org.apache.flink.runtime.asyncprocessing.AsyncRequestContainer;
import org.apache.flink.runtime.asyncprocessing.EpochManager.Epoch;
import org.apache.flink.runtime.asyncprocessing.RecordContext;
import org.apache.flink.runtime.asyncprocessing.StateExecutor;
import org.apache.flink.runtime.asyncprocessing.StateRequest;
import org.apache.flink.runtime.asyncprocessing.StateRequestHandler;
import org.apache.flink.runtime.asyncprocessing.StateRequestType;
import org.apache.flink.runtime.execution.Environment;
import org.apache.flink.runtime.state.AsyncKeyedStateBackend;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.v2.internal.InternalPartitionedState;
import org.apache.flink.util.function.ThrowingRunnable;

/**
 * The configured backend behind Flink's asynchronous state API, with Long keys, without Flink's controller: what states request is gathered, and handed to
 * the backend's executor when the caller says so. The caller keeps the keys of a batch apart from each other, as the controller does.
 */
public final class AsyncBackendUnderTest implements StateRequestHandler, AutoCloseable {

    private final AsyncKeyedStateBackend<Long> backend;
    private final Environment environment;
    private final StateExecutor executor;
    private final Epoch epoch = new Epoch(0);
    private final List<InternalAsyncFuture<?>> futures = new ArrayList<>();
    private AsyncRequestContainer<StateRequest<?, ?, ?, ?>> gathered;
    private RecordContext<Long> record;

    private AsyncBackendUnderTest(AsyncKeyedStateBackend<Long> backend, Environment environment) {
        this.backend = backend;
        this.environment = environment;
        backend.setup(this);
        this.executor = backend.createStateExecutor();
        this.gathered = executor.createRequestContainer();
    }

    /** Loads the configured backend; local files go to `--folder`. */
    public static AsyncBackendUnderTest open(Arguments arguments) throws Exception {
        Environment environment = BackendUnderTest.environment(arguments);
        return new AsyncBackendUnderTest(
                BackendUnderTest.factory(arguments)
                        .createAsyncKeyedStateBackend(BackendUnderTest.parameters(environment, LongSerializer.INSTANCE, List.of())),
                environment);
    }

    /** A state of the backend in the void namespace. */
    public <S extends State, V> S state(StateDescriptor<V> descriptor) throws Exception {
        return backend.getOrCreateKeyedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, descriptor);
    }

    /** What is requested from now on is for this key. */
    public void setKey(long key) {
        record = new RecordContext<>(key, key, done -> {}, KeyGroupRangeAssignment.assignToKeyGroup(key, BackendUnderTest.KEY_GROUPS), epoch, 0);
    }

    /** How many requests wait. */
    public int waiting() {
        return futures.size();
    }

    /** Executes what was requested; the answers, in the order of the requests, hold until the next request. */
    public List<InternalAsyncFuture<?>> execute() throws Exception {
        List<InternalAsyncFuture<?>> answers = List.copyOf(futures);
        if (!answers.isEmpty()) {
            executor.executeBatchRequests(gathered).get();
            gathered = executor.createRequestContainer();
            futures.clear();
        }
        return answers;
    }

    @Override
    public <IN, OUT> InternalAsyncFuture<OUT> handleRequest(State state, StateRequestType type, IN payload) {
        InternalAsyncFuture<OUT> future = new AsyncFutureImpl<>(task -> ThrowingRunnable.unchecked(task).run(), this::fail);
        gathered.offer(new StateRequest<>(state, type, false, payload, future, record));
        futures.add(future);
        return future;
    }

    private void fail(String message, Throwable cause) {
        throw new IllegalStateException(message, cause);
    }

    @Override
    public <IN, OUT> OUT handleRequestSync(State state, StateRequestType type, IN payload) {
        throw new UnsupportedOperationException("requests are executed together");
    }

    @Override
    public <N> void setCurrentNamespaceForState(InternalPartitionedState<N> state, N namespace) {
        record.setNamespace(state, namespace);
    }

    @Override
    public void close() throws Exception {
        executor.shutdown();
        backend.dispose();
        environment.getIOManager().close();
    }
}
