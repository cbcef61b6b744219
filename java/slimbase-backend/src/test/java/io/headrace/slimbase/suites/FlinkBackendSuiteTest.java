package io.headrace.slimbase.suites;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.SlimBaseStateBackend;
import java.nio.file.Path;
import java.util.List;
import org.apache.flink.runtime.state.CheckpointStorage;
import org.apache.flink.runtime.state.ConfigurableStateBackend;
import org.apache.flink.runtime.state.StateBackendTestBase;
import org.apache.flink.runtime.state.storage.FileSystemCheckpointStorage;
import org.apache.flink.testutils.junit.extensions.parameterized.Parameter;
import org.apache.flink.testutils.junit.extensions.parameterized.ParameterizedTestExtension;
import org.apache.flink.testutils.junit.extensions.parameterized.Parameters;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/**
 * Flink's suite for keyed and operator state must pass on SlimBase, with the native library (where it was built) and without.
 *
 * <p>Switched off: {@code testValueStateRace}. It lets two threads read at once and expects answers while no key is set. The engine has no locks: queries of
 * other threads are answered by the task thread at its next key, and else fail after a time limit.
 */
@SwitchedOff(test = "testValueStateRace", reason = "queries are answered by the task thread at its next key; here nobody sets one")
@ExtendWith(ParameterizedTestExtension.class)
public class FlinkBackendSuiteTest extends StateBackendTestBase<SlimBaseStateBackend> {
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
    protected boolean isSerializerPresenceRequiredOnRestore() {
        return false;
    }

    @Override
    protected boolean supportsAsynchronousSnapshots() {
        return true;
    }

    @Override
    protected boolean isSafeToReuseKVState() {
        return true;
    }
}
