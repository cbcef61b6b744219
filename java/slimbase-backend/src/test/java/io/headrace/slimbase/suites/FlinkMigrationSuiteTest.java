package io.headrace.slimbase.suites;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.SlimBaseStateBackend;
import java.util.List;
import org.apache.flink.runtime.state.CheckpointStorage;
import org.apache.flink.runtime.state.StateBackendMigrationTestBase;
import org.apache.flink.runtime.state.storage.FileSystemCheckpointStorage;
import org.apache.flink.testutils.junit.extensions.parameterized.Parameter;
import org.apache.flink.testutils.junit.extensions.parameterized.ParameterizedTestExtension;
import org.apache.flink.testutils.junit.extensions.parameterized.Parameters;
import org.junit.jupiter.api.extension.ExtendWith;

/** Flink's suite for changed serializers must pass on SlimBase, with the native library (where it was built) and without. */
@ExtendWith(ParameterizedTestExtension.class)
public class FlinkMigrationSuiteTest extends StateBackendMigrationTestBase<SlimBaseStateBackend> {
    /** Where memory comes from. */
    @Parameter public NativeMode mode;

    @Parameters(name = "native {0}")
    public static List<NativeMode> modes() {
        return List.of(NativeMode.AUTO, NativeMode.OFF);
    }

    @Override
    protected SlimBaseStateBackend getStateBackend() {
        return SuiteBackends.slimBase(mode);
    }

    @Override
    protected CheckpointStorage getCheckpointStorage() {
        return new FileSystemCheckpointStorage(tempFolder.toUri().toString());
    }
}
