package io.headrace.slimbase.timers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.suites.SuiteBackends;
import java.util.List;
import org.apache.flink.runtime.operators.testutils.MockEnvironment;
import org.apache.flink.runtime.operators.testutils.MockEnvironmentBuilder;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.streaming.api.operators.TimerHeapInternalTimer;
import org.apache.flink.streaming.api.operators.TimerSerializer;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.binary.BinaryRowData;
import org.apache.flink.table.data.writer.BinaryRowWriter;
import org.apache.flink.table.runtime.typeutils.BinaryRowDataSerializer;
import org.junit.jupiter.api.Test;

/** Flink's SQL windows use one key object for all keys of a flush, since the backend says that this is safe. */
class ReusedKeysTest {
    /** Each timer keeps the key that it was registered with. */
    @Test
    @SuppressWarnings({"unchecked", "rawtypes"})
    void timersKeepTheirKeys() throws Exception {
        BinaryRowDataSerializer keySerializer = new BinaryRowDataSerializer(1);
        MockEnvironment environment = new MockEnvironmentBuilder().setManagedMemorySize(32 << 20).build();
        AbstractKeyedStateBackend<BinaryRowData> backend =
                SuiteBackends.keyed(
                        SuiteBackends.slimBase(NativeMode.OFF),
                        environment,
                        keySerializer,
                        8,
                        KeyGroupRange.of(0, 7),
                        TtlTimeProvider.DEFAULT,
                        List.of());
        TimerSerializer<BinaryRowData, VoidNamespace> serializer =
                new TimerSerializer<>(keySerializer, VoidNamespaceSerializer.INSTANCE);
        KeyGroupedInternalPriorityQueue<TimerHeapInternalTimer> timers =
                backend.create("timers", (org.apache.flink.api.common.typeutils.TypeSerializer) serializer);
        BinaryRowData reused = new BinaryRowData(1);
        BinaryRowWriter writer = new BinaryRowWriter(reused);
        for (long key = 1; key <= 5; key++) {
            writer.reset();
            writer.writeLong(0, key);
            writer.complete();
            backend.setCurrentKey(reused);
            timers.add(new TimerHeapInternalTimer(key * 10, reused, VoidNamespace.INSTANCE));
        }
        for (long key = 1; key <= 5; key++) {
            TimerHeapInternalTimer<RowData, VoidNamespace> timer = timers.poll();
            assertEquals(key * 10, timer.getTimestamp());
            assertEquals(key, timer.getKey().getLong(0));
        }
        assertNull(timers.poll());
        backend.dispose();
        environment.close();
    }
}
