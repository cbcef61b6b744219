package io.headrace.slimbase.timers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.suites.SuiteBackends;
import java.time.Duration;
import java.util.List;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.runtime.operators.testutils.MockEnvironment;
import org.apache.flink.runtime.operators.testutils.MockEnvironmentBuilder;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.ttl.MockTtlTimeProvider;
import org.junit.jupiter.api.Test;

/** Expired maps go, small and paged ones, while other keys are used; and the visits cost little. */
class ExpiryVisitsTest {
    private static final int KEYS = 40;
    private static final int LARGE = 500;

    /** After enough accesses to one key nothing is left of the expired maps of the others. */
    @Test
    void expiredMapsAreRemoved() throws Exception {
        MockTtlTimeProvider clock = new MockTtlTimeProvider();
        MockEnvironment environment = new MockEnvironmentBuilder().setManagedMemorySize(64 << 20).build();
        AbstractKeyedStateBackend<Long> backend =
                SuiteBackends.keyed(
                        SuiteBackends.slimBase(NativeMode.OFF),
                        environment,
                        LongSerializer.INSTANCE,
                        8,
                        KeyGroupRange.of(0, 7),
                        clock,
                        List.of());
        MapStateDescriptor<Long, Long> descriptor =
                new MapStateDescriptor<>("seen", LongSerializer.INSTANCE, LongSerializer.INSTANCE);
        descriptor.enableTimeToLive(StateTtlConfig.newBuilder(Duration.ofMillis(100)).build());
        MapState<Long, Long> state =
                backend.getPartitionedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, descriptor);
        clock.setCurrentTimestamp(0);
        for (long key = 0; key < KEYS; key++) {
            backend.setCurrentKey(key);
            for (long entry = 0; entry < (key % 2 == 0 ? 3 : LARGE); entry++) {
                state.put(entry, entry);
            }
        }
        assertEquals(KEYS, backend.numKeyValueStateEntries());
        clock.setCurrentTimestamp(1_000);
        backend.setCurrentKey(1_000L);
        state.put(1L, 1L);
        for (int access = 0; access < 256 * 3 * KEYS; access++) {
            state.get(1L);
        }
        assertTrue(backend.numKeyValueStateEntries() <= 1, "left " + backend.numKeyValueStateEntries());
        assertEquals(1L, state.get(1L));
        backend.dispose();
        environment.close();
    }
}
