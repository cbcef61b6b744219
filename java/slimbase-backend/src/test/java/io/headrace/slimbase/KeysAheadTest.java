package io.headrace.slimbase;

import static org.assertj.core.api.Assertions.assertThat;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.suites.SuiteBackends;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.operators.testutils.MockEnvironment;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.util.AbstractStreamOperatorTestHarness;
import org.apache.flink.streaming.util.KeyedOneInputStreamOperatorTestHarness;
import org.apache.flink.table.data.RowData;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Runs of keys are noticed where there are any, fetched in their order, and change no result. */
class KeysAheadTest {
    private static final MemorySize MEMORY = MemorySize.ofMebiBytes(64);

    private final MockEnvironment environment = MockEnvironment.builder().build();
    /** One for all bundles, as the operator's: a map never shrinks. */
    private final Map<Long, Long> bundle = new HashMap<>();

    private SlimKeyedStateBackend<Long> backend;
    private KeysAhead ahead;

    @BeforeEach
    void open() throws Exception {
        backend = (SlimKeyedStateBackend<Long>) SuiteBackends.keyed(
                SuiteBackends.slimBase(NativeMode.ON, MEMORY),
                environment,
                LongSerializer.INSTANCE,
                MiniBatch.KEY_GROUPS,
                new KeyGroupRange(0, MiniBatch.KEY_GROUPS - 1),
                TtlTimeProvider.DEFAULT,
                List.of());
        ahead = backend.keysAhead();
    }

    @AfterEach
    void close() throws Exception {
        backend.close();
        backend.dispose();
        environment.close();
    }

    private <S extends State> S state(StateDescriptor<S, ?> descriptor) throws Exception {
        return backend.getPartitionedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, descriptor);
    }

    private ValueState<Long> count(String name) throws Exception {
        return state(new ValueStateDescriptor<>(name, LongSerializer.INSTANCE));
    }

    /** Sets as many different keys without touching state; they as a bundle's map has them. */
    private Map<Long, Long> bundle(int keys, long seed) {
        Random random = new Random(seed);
        bundle.clear();
        while (bundle.size() < keys) {
            long key = random.nextInt(1_000_000);
            backend.setCurrentKey(key);
            bundle.put(key, key);
        }
        return bundle;
    }

    private void add(Map<Long, Long> bundle, ValueState<Long> state) throws Exception {
        for (Map.Entry<Long, Long> entry : bundle.entrySet()) {
            backend.setCurrentKey(entry.getKey());
            Long before = state.value();
            state.update((before == null ? 0 : before) + entry.getValue());
        }
    }

    /** An operator that touches state for every key, or for every few, fetches nothing. */
    @Test
    void stateThatIsTouchedIsNotFetched() throws Exception {
        ValueState<Long> state = count("count");
        for (long key = 0; key < 5_000; key++) {
            backend.setCurrentKey(key);
            if (key % KeysAhead.LEAST == 0) {
                state.update(key);
            }
        }
        assertThat(ahead.run()).isZero();
        assertThat(ahead.fetched()).isZero();
    }

    /** All lots of a bundle are fetched, in the order in which its map is read; only the run's first keys are not gathered. */
    @Test
    void bundlesAreFetchedLotByLot() throws Exception {
        ValueState<Long> state = count("count");
        for (int keys : new int[] {100, 1_000, 5_000, 12_000, 3_000}) {
            int before = ahead.run();
            add(bundle(keys, keys), state);
            int gathered = keys - KeysAhead.LEAST;
            assertThat(ahead.fetched()).isBetween(gathered - 5, keys);
            assertThat(ahead.run() - before).isEqualTo((ahead.fetched() + KeysAhead.LOT - 1) / KeysAhead.LOT);
        }
    }

    /** A bundle larger than what is gathered leaves the rest alone, in full and afterwards. */
    @Test
    void largeBundlesAreLimited() throws Exception {
        ValueState<Long> state = count("count");
        for (int round = 0; round < 4; round++) {
            add(bundle(3 * KeysAhead.KEYS_MAX, 7), state);
            assertThat(ahead.fetched()).isBetween(0, KeysAhead.KEYS_MAX);
        }
        assertThat(backend.numKeyValueStateEntries()).isEqualTo(3 * KeysAhead.KEYS_MAX);
    }

    /** An operator that mostly needs no state after a run is left alone, ever longer. */
    @Test
    void badGuessesAreGivenUp() throws Exception {
        ValueState<Long> state = count("count");
        for (int round = 0; round < 2_000; round++) {
            bundle(100, round);
            state.value();
        }
        assertThat(ahead.run()).isLessThan(15);
        for (int round = 0; round < 2_000; round++) {
            add(bundle(100, round), state);
        }
        assertThat(ahead.run()).isGreaterThan(500);
    }

    /** A state that comes when a run has been gathered or fetched already reads what it should. */
    @Test
    void stateMayComeLate() throws Exception {
        ValueState<Long> state = count("count");
        add(bundle(3_000, 1), state);
        ValueState<Long> late = count("late");
        for (long key : bundle(3_000, 1).keySet()) {
            backend.setCurrentKey(key);
            assertThat(late.value()).isNull();
            late.update(-key);
            assertThat(state.value()).isEqualTo(key);
        }
        ahead.setOff(true);
        bundle(50, 2);
        ValueState<Long> later = count("later");
        backend.setCurrentKey(1L);
        assertThat(later.value()).isNull();
    }

    /** Flink's mini-batch operator counts right over many bundles, with little memory (so that records are cleaned) and across a rescale from 1 to 2. */
    @Test
    void miniBatchesCountRight() throws Exception {
        Random random = new Random(5);
        Map<Long, Long> sums = new HashMap<>();
        MiniBatch operator = new MiniBatch(2_500);
        OperatorSubtaskState snapshot;
        try (var harness = operator.open(SuiteBackends.slimBase(NativeMode.ON, MemorySize.ofMebiBytes(16)), null)) {
            feed(List.of(harness), operator, random, sums);
            assertThat(MiniBatch.backend(harness).keysAhead().run()).isGreaterThan(50);
            snapshot = harness.snapshot(1, 1);
        }
        try (var first = operator.open(SuiteBackends.slimBase(NativeMode.ON, MEMORY), part(snapshot, 0), 2, 0);
                var second = operator.open(SuiteBackends.slimBase(NativeMode.ON, MEMORY), part(snapshot, 1), 2, 1)) {
            feed(List.of(first, second), operator, random, sums);
            assertThat(MiniBatch.backend(second).keysAhead().run()).isGreaterThan(50);
        }
    }

    private static OperatorSubtaskState part(OperatorSubtaskState snapshot, int subtask) {
        return AbstractStreamOperatorTestHarness.repartitionOperatorState(snapshot, MiniBatch.KEY_GROUPS, 1, 2, subtask);
    }

    /** Many records, bundles closed by their size and by watermarks; then the last result of every key must be the model's. */
    private static void feed(
            List<KeyedOneInputStreamOperatorTestHarness<RowData, RowData, RowData>> subtasks,
            MiniBatch operator,
            Random random,
            Map<Long, Long> sums)
            throws Exception {
        Map<Long, Long> results = new HashMap<>();
        Set<Long> touched = new HashSet<>();
        for (int i = 0; i < 300_000; i++) {
            long key = random.nextInt(60_000);
            long value = random.nextInt(100);
            sums.merge(key, value, Long::sum);
            touched.add(key);
            StreamRecord<RowData> record = operator.record(key, value);
            int group = KeyGroupRangeAssignment.assignToKeyGroup(new MiniBatch.Key().getKey(record.getValue()), MiniBatch.KEY_GROUPS);
            subtasks.get(group * subtasks.size() / MiniBatch.KEY_GROUPS).processElement(record);
            if (random.nextInt(20_000) == 0 || i == 299_999) {
                for (var subtask : subtasks) {
                    subtask.processWatermark(new Watermark(i));
                    collect(subtask, results);
                }
            }
        }
        for (long key : touched) {
            assertThat(results).containsEntry(key, sums.get(key));
        }
    }

    private static void collect(KeyedOneInputStreamOperatorTestHarness<RowData, RowData, RowData> harness, Map<Long, Long> results) {
        for (Object output = harness.getOutput().poll(); output != null; output = harness.getOutput().poll()) {
            if (output instanceof StreamRecord) {
                RowData row = (RowData) ((StreamRecord<?>) output).getValue();
                results.put(row.getLong(0), row.getLong(2));
            }
        }
    }
}
