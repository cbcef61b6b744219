package io.headrace.slimbase.suites;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import java.nio.file.Path;
import org.apache.flink.runtime.state.CheckpointStorage;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.storage.FileSystemCheckpointStorage;
import org.apache.flink.runtime.state.ttl.StateBackendTestContext;
import org.apache.flink.runtime.state.ttl.TtlStateTestBase;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.junit.jupiter.api.io.TempDir;

/** Flink's suite for state with a time to live must pass on SlimBase, incremental clean-up included. */
public class FlinkTtlSuiteTest extends TtlStateTestBase {
    @TempDir private Path folder;

    NativeMode mode() {
        return NativeMode.AUTO;
    }

    @Override
    protected StateBackendTestContext createStateBackendTestContext(TtlTimeProvider timeProvider) {
        return new StateBackendTestContext(timeProvider) {
            @Override
            protected StateBackend createStateBackend() {
                return SuiteBackends.slimBase(mode());
            }

            @Override
            protected CheckpointStorage createCheckpointStorage() {
                return new FileSystemCheckpointStorage(folder.toUri().toString());
            }
        };
    }

    @Override
    protected boolean incrementalCleanupSupported() {
        return true;
    }
}
