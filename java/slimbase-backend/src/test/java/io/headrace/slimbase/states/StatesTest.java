package io.headrace.slimbase.states;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.headrace.slimbase.OrderedMapState;
import io.headrace.slimbase.SlimBaseOptions;
import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.SlimBaseStateBackend;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.suites.SuiteBackends;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.queryablestate.client.state.serialization.KvStateSerializer;
import org.apache.flink.runtime.operators.testutils.MockEnvironment;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.internal.InternalKvState;
import org.apache.flink.runtime.state.ttl.MockTtlTimeProvider;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What Flink's suites do not ask: ranges, clean-up of expired values, queries of other threads, options. */
class StatesTest {
    private static final int KEY_GROUPS = 8;

    private final MockTtlTimeProvider clock = new MockTtlTimeProvider();
    private final MockEnvironment environment = MockEnvironment.builder().setManagedMemorySize(64L << 20).build();
    private AbstractKeyedStateBackend<Long> backend;

    @BeforeEach
    void open() throws Exception {
        backend = open(SuiteBackends.slimBase(NativeMode.AUTO));
    }

    private AbstractKeyedStateBackend<Long> open(SlimBaseStateBackend kind) throws Exception {
        return SuiteBackends.keyed(
                kind, environment, LongSerializer.INSTANCE, KEY_GROUPS, new KeyGroupRange(0, KEY_GROUPS - 1), clock, List.of());
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

    /** A range is read in the order of time, across pages, while the map changes; bounds are inclusive and exclusive. */
    @Test
    @SuppressWarnings("unchecked")
    void rangesAreReadInOrder() throws Exception {
        MapState<Long, String> map = state(new MapStateDescriptor<>("times", LongSerializer.INSTANCE, StringSerializer.INSTANCE));
        backend.setCurrentKey(5L);
        for (long i = 0; i < 3_000; i++) {
            long time = i * 7919 % 3_000 * 10;
            map.put(time, "at " + time);
        }
        List<Long> seen = new ArrayList<>();
        for (Map.Entry<Long, String> entry : ((OrderedMapState<Long, String>) map).range(995L, 12_000L)) {
            assertThat(entry.getValue()).isEqualTo("at " + entry.getKey());
            seen.add(entry.getKey());
            map.remove(entry.getKey() - 500);
        }
        assertThat(seen).hasSize(1_100).isSorted().startsWith(1_000L).endsWith(11_990L);
        assertThat(((OrderedMapState<Long, String>) map).range(50_000L, 60_000L)).isEmpty();
        assertThat(((OrderedMapState<Long, String>) map).range(100L, 100L)).isEmpty();
    }

    /** Other keys have no order of bytes that means something. */
    @Test
    @SuppressWarnings("unchecked")
    void rangesOfOtherKeysAreRefused() throws Exception {
        MapState<String, String> map = state(new MapStateDescriptor<>("texts", StringSerializer.INSTANCE, StringSerializer.INSTANCE));
        backend.setCurrentKey(5L);
        assertThatThrownBy(() -> ((OrderedMapState<String, String>) map).range("a", "b"))
                .isInstanceOf(SlimBaseException.class)
                .hasMessageContaining("LongSerializer");
    }

    /** Negative times come before the others, in ranges with and without an end, and entries can be set and removed on the way. */
    @Test
    @SuppressWarnings("unchecked")
    void rangesGoOverZero() throws Exception {
        MapState<Long, String> map = state(new MapStateDescriptor<>("times", LongSerializer.INSTANCE, StringSerializer.INSTANCE));
        OrderedMapState<Long, String> ordered = (OrderedMapState<Long, String>) map;
        backend.setCurrentKey(5L);
        TreeMap<Long, String> model = new TreeMap<>();
        for (long i = 0; i < 1_000; i++) {
            long time = i * 7919 % 1_000 * 10 - 5_000;
            map.put(time, "at " + time);
            model.put(time, "at " + time);
        }
        for (long edge : new long[] {Long.MIN_VALUE, Long.MAX_VALUE}) {
            map.put(edge, "edge");
            model.put(edge, "edge");
        }
        long[] bounds = {Long.MIN_VALUE, -6_000, -4_995, -10, -1, 0, 1, 10, 2_345, 4_990, Long.MAX_VALUE};
        for (long from : bounds) {
            assertThat(times(ordered.range(from, null))).containsExactlyElementsOf(model.tailMap(from).keySet());
            for (long to : bounds) {
                if (from <= to) {
                    assertThat(times(ordered.range(from, to))).containsExactlyElementsOf(model.subMap(from, to).keySet());
                } else {
                    assertThat(ordered.range(from, to)).isEmpty();
                }
            }
        }
        Iterator<Map.Entry<Long, String>> entries = ordered.range(-500L, 501L).iterator();
        while (entries.hasNext()) {
            Map.Entry<Long, String> entry = entries.next();
            entry.setValue("seen");
            if (entry.getKey() % 20 == 0) {
                entries.remove();
            }
        }
        assertThat(times(ordered.range(-500L, 501L))).hasSize(50).allMatch(time -> time % 20 != 0);
        assertThat(ordered.range(-500L, 501L)).allMatch(entry -> entry.getValue().equals("seen"));
    }

    private static List<Long> times(Iterable<Map.Entry<Long, String>> entries) {
        List<Long> times = new ArrayList<>();
        entries.forEach(entry -> times.add(entry.getKey()));
        return times;
    }

    /** Expired values leave memory while the log is cleaned, though nobody reads them. */
    @Test
    void expiredValuesAreCleaned() throws Exception {
        ValueStateDescriptor<String> descriptor = new ValueStateDescriptor<>("sessions", StringSerializer.INSTANCE);
        descriptor.enableTimeToLive(StateTtlConfig.newBuilder(Duration.ofMillis(1_000)).build());
        ValueState<String> sessions = state(descriptor);
        String value = "x".repeat(1_000);
        for (long key = 0; key < 200_000; key++) {
            clock.time = key;
            backend.setCurrentKey(key);
            sessions.update(value);
        }
        // 200 MB were written into 64 MB of memory; of these the last second is live.
        backend.setCurrentKey(199_500L);
        assertThat(sessions.value()).isEqualTo(value);
        assertThat(backend.numKeyValueStateEntries()).isLessThan(100_000);
    }

    /** A query of another thread is answered when the task sets its next key. */
    @Test
    @SuppressWarnings("unchecked")
    void otherThreadsAreAnswered() throws Exception {
        ValueState<String> state = state(new ValueStateDescriptor<>("queried", StringSerializer.INSTANCE));
        backend.setCurrentKey(7L);
        state.update("seven");
        byte[] key = KvStateSerializer.serializeKeyAndNamespace(7L, LongSerializer.INSTANCE, VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE);
        CompletableFuture<byte[]> answer =
                CompletableFuture.supplyAsync(
                        () -> {
                            try {
                                return ((InternalKvState<Long, VoidNamespace, String>) state)
                                        .getSerializedValue(
                                                key, LongSerializer.INSTANCE, VoidNamespaceSerializer.INSTANCE, StringSerializer.INSTANCE);
                            } catch (Exception e) {
                                throw new IllegalStateException(e);
                            }
                        });
        for (long next = 0; !answer.isDone(); next++) {
            backend.setCurrentKey(next);
        }
        assertThat(KvStateSerializer.deserializeValue(answer.get(1, TimeUnit.SECONDS), StringSerializer.INSTANCE)).isEqualTo("seven");
    }

    /** A budget of its own is taken as given, and too little of it is refused. */
    @Test
    void fixedMemoryIsTakenAndChecked() throws Exception {
        Configuration config = new Configuration();
        config.set(SlimBaseOptions.FIXED_PER_SLOT, MemorySize.ofMebiBytes(32));
        SlimBaseStateBackend kind = new SlimBaseStateBackend().configure(config, getClass().getClassLoader());
        assertThat(kind.useManagedMemory()).isFalse();
        AbstractKeyedStateBackend<Long> other = open(kind);
        other.close();
        other.dispose();
        config.set(SlimBaseOptions.FIXED_PER_SLOT, MemorySize.ofMebiBytes(1));
        assertThatThrownBy(() -> new SlimBaseStateBackend().configure(config, getClass().getClassLoader()))
                .hasMessageContaining(SlimBaseOptions.FIXED_PER_SLOT.key());
    }
}
