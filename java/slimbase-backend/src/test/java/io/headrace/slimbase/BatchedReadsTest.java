package io.headrace.slimbase;

import static org.assertj.core.api.Assertions.assertThat;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.suites.SuiteBackends;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.state.v2.ListState;
import org.apache.flink.api.common.state.v2.ListStateDescriptor;
import org.apache.flink.api.common.state.v2.MapState;
import org.apache.flink.api.common.state.v2.MapStateDescriptor;
import org.apache.flink.api.common.state.v2.State;
import org.apache.flink.api.common.state.v2.StateDescriptor;
import org.apache.flink.api.common.state.v2.ValueState;
import org.apache.flink.api.common.state.v2.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.core.asyncprocessing.AsyncFutureImpl;
import org.apache.flink.core.asyncprocessing.InternalAsyncFuture;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.runtime.asyncprocessing.AbstractStateIterator;
import org.apache.flink.runtime.asyncprocessing.AsyncRequestContainer;
import org.apache.flink.runtime.asyncprocessing.EpochManager.Epoch;
import org.apache.flink.runtime.asyncprocessing.RecordContext;
import org.apache.flink.runtime.asyncprocessing.StateExecutor;
import org.apache.flink.runtime.asyncprocessing.StateRequest;
import org.apache.flink.runtime.asyncprocessing.StateRequestHandler;
import org.apache.flink.runtime.asyncprocessing.StateRequestType;
import org.apache.flink.runtime.operators.testutils.MockEnvironment;
import org.apache.flink.runtime.state.AsyncKeyedStateBackend;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyedStateBackendParametersImpl;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.runtime.state.v2.internal.InternalPartitionedState;
import org.apache.flink.util.function.ThrowingRunnable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Requests that are executed together are answered as if one by one, whether their records hold the answer or not. */
class BatchedReadsTest implements StateRequestHandler {
    private static final int KEY_GROUPS = 8;
    private static final int KEYS = 300;

    private final MockEnvironment environment = MockEnvironment.builder().build();
    private final List<InternalAsyncFuture<?>> futures = new ArrayList<>();
    private AsyncKeyedStateBackend<Long> backend;
    private StateExecutor executor;
    private AsyncRequestContainer<StateRequest<?, ?, ?, ?>> gathered;
    private RecordContext<Long> record;

    private void open(NativeMode mode) throws Exception {
        backend = SuiteBackends.slimBase(mode, MemorySize.ofMebiBytes(64))
                .createAsyncKeyedStateBackend(new KeyedStateBackendParametersImpl<>(
                        environment,
                        new JobID(),
                        "operator",
                        LongSerializer.INSTANCE,
                        KEY_GROUPS,
                        new KeyGroupRange(0, KEY_GROUPS - 1),
                        environment.getTaskKvStateRegistry(),
                        TtlTimeProvider.DEFAULT,
                        new UnregisteredMetricsGroup(),
                        (name, value) -> {},
                        List.of(),
                        new CloseableRegistry(),
                        1.0));
        backend.setup(this);
        executor = backend.createStateExecutor();
        gathered = executor.createRequestContainer();
    }

    @AfterEach
    void close() throws Exception {
        backend.close();
        backend.dispose();
        environment.close();
    }

    private <S extends State, V> S state(StateDescriptor<V> descriptor) throws Exception {
        return backend.getOrCreateKeyedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, descriptor);
    }

    private void setKey(long key) {
        record = new RecordContext<>(key, key, done -> {}, KeyGroupRangeAssignment.assignToKeyGroup(key, KEY_GROUPS), new Epoch(0), 0);
    }

    @Override
    public <IN, OUT> InternalAsyncFuture<OUT> handleRequest(State state, StateRequestType type, IN payload) {
        InternalAsyncFuture<OUT> future = new AsyncFutureImpl<>(task -> ThrowingRunnable.unchecked(task).run(), (message, cause) -> {
            throw new AssertionError(message, cause);
        });
        gathered.offer(new StateRequest<>(state, type, false, payload, future, record));
        futures.add(future);
        return future;
    }

    @Override
    public <IN, OUT> OUT handleRequestSync(State state, StateRequestType type, IN payload) {
        throw new AssertionError("not used");
    }

    @Override
    public <N> void setCurrentNamespaceForState(InternalPartitionedState<N> state, N namespace) {
        record.setNamespace(state, namespace);
    }

    /** Executes what was requested. */
    private List<Object> execute() throws Exception {
        executor.executeBatchRequests(gathered).get();
        gathered = executor.createRequestContainer();
        List<Object> answers = new ArrayList<>();
        for (InternalAsyncFuture<?> future : futures) {
            assertThat(future.isDone()).isTrue();
            answers.add(future.get());
        }
        futures.clear();
        return answers;
    }

    /** Reads of maps without entries, small ones, and ones with pages, also null values and keys that are not there. */
    @ParameterizedTest
    @EnumSource(names = {"AUTO", "OFF"})
    void mapsAreRead(NativeMode mode) throws Exception {
        open(mode);
        MapState<Long, Long> map = state(new MapStateDescriptor<>("map", LongSerializer.INSTANCE, LongSerializer.INSTANCE));
        for (long key = 0; key < KEYS; key++) {
            for (long entry = 0; entry < entries(key); entry++) {
                setKey(key);
                map.asyncPut(entry, entry % 5 == 3 ? null : key * 1_000 + entry);
            }
        }
        execute();
        for (long wanted : List.of(0L, 3L, 10L, 299L)) {
            for (long key = 0; key < KEYS; key++) {
                setKey(key);
                map.asyncGet(wanted);
                map.asyncContains(wanted);
                map.asyncIsEmpty();
            }
            List<Object> answers = execute();
            for (int key = 0; key < KEYS; key++) {
                boolean there = wanted < entries(key);
                assertThat(answers.get(3 * key)).isEqualTo(there && wanted % 5 != 3 ? key * 1_000L + wanted : null);
                assertThat(answers.get(3 * key + 1)).isEqualTo(there);
                assertThat(answers.get(3 * key + 2)).isEqualTo(entries(key) == 0);
            }
        }
    }

    private static int entries(long key) {
        return key % 3 == 0 ? 0 : key % 31 == 1 ? 300 : 12;
    }

    /** Reads of lists without elements, of one block, of several, and of so many that reading joins them (which moves records). */
    @ParameterizedTest
    @EnumSource(names = {"AUTO", "OFF"})
    void listsAreRead(NativeMode mode) throws Exception {
        open(mode);
        ListState<Long> list = state(new ListStateDescriptor<>("list", LongSerializer.INSTANCE));
        for (int element = 0; element < 2_000; element++) {
            for (long key = 0; key < KEYS; key++) {
                if (element < elements(key)) {
                    setKey(key);
                    list.asyncAdd(key * 10_000 + element);
                }
            }
        }
        execute();
        for (int round = 0; round < 2; round++) {
            for (long key = 0; key < KEYS; key++) {
                setKey(key);
                list.asyncGet();
            }
            List<Object> answers = execute();
            for (int key = 0; key < KEYS; key++) {
                long first = key * 10_000L;
                assertThat(elementsOf(answers.get(key)))
                        .containsExactlyElementsOf(LongStream.range(first, first + elements(key)).boxed()::iterator);
            }
        }
    }

    private static int elements(long key) {
        return key % 4 == 0 ? 0 : key % 37 == 1 ? 2_000 : (int) (key % 4 * key % 4) * 5 + 1;
    }

    @SuppressWarnings("unchecked")
    private static Iterable<Long> elementsOf(Object answer) {
        return ((AbstractStateIterator<Long>) answer).getCurrentCache();
    }

    /** A read after a write of the same record sees it, one before does not; a key that was cleared in the batch before is gone. */
    @ParameterizedTest
    @EnumSource(names = {"AUTO", "OFF"})
    void orderOfARecordsRequestsIsKept(NativeMode mode) throws Exception {
        open(mode);
        ValueState<Long> value = state(new ValueStateDescriptor<>("value", LongSerializer.INSTANCE));
        MapState<Long, Long> map = state(new MapStateDescriptor<>("map", LongSerializer.INSTANCE, LongSerializer.INSTANCE));
        for (long key = 0; key < KEYS; key++) {
            setKey(key);
            map.asyncGet(1L);
            map.asyncPut(1L, key);
            map.asyncGet(1L);
            value.asyncUpdate(-key);
            value.asyncValue();
        }
        List<Object> answers = execute();
        for (int key = 0; key < KEYS; key++) {
            assertThat(answers.subList(5 * key, 5 * key + 5)).containsExactly(null, null, (long) key, null, (long) -key);
            setKey(key);
            if (key % 2 == 0) {
                map.asyncClear();
            }
        }
        execute();
        for (long key = 0; key < KEYS; key++) {
            setKey(key);
            map.asyncGet(1L);
        }
        answers = execute();
        for (int key = 0; key < KEYS; key++) {
            assertThat(answers.get(key)).isEqualTo(key % 2 == 0 ? null : (long) key);
        }
    }
}
