package io.headrace.slimbase.cold;

import static org.assertj.core.api.Assertions.assertThat;

import io.headrace.slimbase.suites.SuiteBackends;
import java.io.File;
import java.io.IOException;
import java.util.Random;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.runtime.operators.testutils.MockEnvironment;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.junit.jupiter.api.Test;

/**
 * State whose indexes take near half of the memory, overwritten several times over: what is dead goes. It once stayed where indexes left a merge of nearly
 * everything too little room for its own; each merge left more of it and the next less room, until the state did not fit (bench/NOTES.md).
 */
class IndexesTakeMuchTest {
    private static final int KEY_GROUPS = 8;
    private static final long MEMORY_BYTES = 4 << 20;
    /** Some 20 bytes each in a file, of which 1.6 are in memory. */
    private static final int KEYS = 700_000;
    private static final int ROUNDS = 2;

    @Test
    void filesStaySmall() throws Exception {
        try (MockEnvironment environment = MockEnvironment.builder().setManagedMemorySize(MEMORY_BYTES).build()) {
            AbstractKeyedStateBackend<Long> backend = SuiteBackends.slimBaseOfLongs(environment, KEY_GROUPS);
            ValueState<Long> values =
                    backend.getPartitionedState(
                            VoidNamespace.INSTANCE,
                            VoidNamespaceSerializer.INSTANCE,
                            new ValueStateDescriptor<>("values", LongSerializer.INSTANCE));
            File folder = environment.getIOManager().getSpillingDirectories()[0];
            long[] expected = new long[KEYS];
            Random random = new Random(1);
            for (int key = 0; key < KEYS; key++) {
                update(backend, values, expected, key, random.nextLong());
            }
            long once = bytes(folder);
            for (int round = 0; round < ROUNDS; round++) {
                for (int i = 0; i < KEYS; i++) {
                    update(backend, values, expected, random.nextInt(KEYS), random.nextLong());
                }
                assertThat((double) bytes(folder) / once).as("files over what they were when all was written once, round %d", round).isLessThan(2.5);
            }
            for (int key = 0; key < KEYS; key += 7) {
                backend.setCurrentKey((long) key);
                assertThat(values.value()).as("key %d", key).isEqualTo(expected[key]);
            }
            backend.close();
            backend.dispose();
        }
    }

    private static void update(AbstractKeyedStateBackend<Long> backend, ValueState<Long> values, long[] expected, int key, long value)
            throws IOException {
        expected[key] = value;
        backend.setCurrentKey((long) key);
        values.update(value);
    }

    /** Of the backend's files; 0 for one that goes meanwhile. */
    private static long bytes(File folder) {
        long sum = 0;
        for (File backend : folder.listFiles((in, name) -> name.startsWith("slimbase-"))) {
            for (File file : backend.listFiles()) {
                sum += file.length();
            }
        }
        return sum;
    }
}
