package org.apache.flink.test.state;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.suites.SuiteBackends;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.runtime.operators.testutils.MockEnvironment;
import org.apache.flink.runtime.state.CheckpointableKeyedStateBackend;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.test.state.BackendSwitchSpecs.BackendSwitchSpec;
import org.apache.flink.testutils.junit.extensions.parameterized.Parameters;

/** Flink's test of canonical savepoints between backends must pass from SlimBase to rocksdb and hashmap, and back; it lies here for its package-private base. */
public class SlimBaseSavepointSwitchTest extends SavepointStateBackendSwitchTestBase {
    private static final BackendSwitchSpec SLIM = new SlimSpec(NativeMode.AUTO);
    private static final BackendSwitchSpec SLIM_PURE_JAVA = new SlimSpec(NativeMode.OFF);

    public SlimBaseSavepointSwitchTest(BackendSwitchSpec from, BackendSwitchSpec to) {
        super(from, to);
    }

    @Parameters(name = "from: {0} to: {1}")
    public static List<Object[]> pairs() {
        return List.of(
                new Object[] {SLIM, BackendSwitchSpecs.HEAP},
                new Object[] {SLIM, BackendSwitchSpecs.ROCKS},
                new Object[] {SLIM, BackendSwitchSpecs.ROCKS_HEAP_TIMERS},
                new Object[] {BackendSwitchSpecs.HEAP, SLIM},
                new Object[] {BackendSwitchSpecs.ROCKS, SLIM},
                new Object[] {BackendSwitchSpecs.ROCKS_HEAP_TIMERS, SLIM},
                new Object[] {SLIM, SLIM_PURE_JAVA},
                new Object[] {SLIM_PURE_JAVA, SLIM},
                new Object[] {BackendSwitchSpecs.ROCKS, SLIM_PURE_JAVA});
    }

    private static final class SlimSpec implements BackendSwitchSpec {
        private final NativeMode mode;

        private SlimSpec(NativeMode mode) {
            this.mode = mode;
        }

        @Override
        public CheckpointableKeyedStateBackend<String> createBackend(
                KeyGroupRange range, int keyGroups, Collection<KeyedStateHandle> handles) throws Exception {
            return SuiteBackends.keyed(
                    SuiteBackends.slimBase(mode),
                    MockEnvironment.builder().build(),
                    StringSerializer.INSTANCE,
                    keyGroups,
                    range,
                    TtlTimeProvider.DEFAULT,
                    handles);
        }

        @Override
        public void close() {}

        @Override
        public String toString() {
            return "SLIMBASE native " + mode;
        }
    }
}
