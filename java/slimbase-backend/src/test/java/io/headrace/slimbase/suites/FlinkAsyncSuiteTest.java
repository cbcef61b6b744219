package io.headrace.slimbase.suites;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.SlimBaseStateBackend;
import java.nio.file.Path;
import java.util.List;
import org.apache.flink.runtime.state.CheckpointStorage;
import org.apache.flink.runtime.state.ConfigurableStateBackend;
import org.apache.flink.runtime.state.storage.FileSystemCheckpointStorage;
import org.apache.flink.runtime.state.v2.StateBackendTestV2Base;
import org.apache.flink.testutils.junit.extensions.parameterized.Parameter;
import org.apache.flink.testutils.junit.extensions.parameterized.ParameterizedTestExtension;
import org.apache.flink.testutils.junit.extensions.parameterized.Parameters;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Flink's suite for the asynchronous state API must pass on SlimBase, with batched native reads and without. */
@ExtendWith(ParameterizedTestExtension.class)
public class FlinkAsyncSuiteTest extends StateBackendTestV2Base<SlimBaseStateBackend> {
    @TempDir private static Path folder;

    /** Where memory comes from. */
    @Parameter public NativeMode mode;

    @Parameters(name = "native {0}")
    public static List<NativeMode> modes() {
        return List.of(NativeMode.AUTO, NativeMode.OFF);
    }

    @Override
    protected ConfigurableStateBackend getStateBackend() {
        return SuiteBackends.slimBase(mode);
    }

    @Override
    protected CheckpointStorage getCheckpointStorage() {
        return new FileSystemCheckpointStorage(folder.toUri().toString());
    }

    @Override
    protected void restoreJob() {}
}
