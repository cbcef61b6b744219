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

/**
 * Flink's suite for state with a time to live must pass on SlimBase.
 *
 * <p>Switched off: {@code testIncrementalCleanup} and {@code testIncrementalCleanupWholeState}, which want each access to visit several entries, as the heap backend does; ours
 * visits rarely, because a visit reads a whole map ({@code ExpiryVisitsTest} has what must hold), and leaves expired values out when it cleans. Checkpoints are incremental, so tests that want full
 * snapshots to leave out expired values are skipped by the suite's own switch ({@link #isSavepoint}), as with incremental RocksDB.
 */
@SwitchedOff(test = "testIncrementalCleanupWholeState", reason = "looks into the heap backend's tables")
@SwitchedOff(test = "testIncrementalCleanup", reason = "entries are visited at every 256th access only; ExpiryVisitsTest instead")
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
    public boolean isSavepoint() {
        return false;
    }

    @Override
    protected boolean incrementalCleanupSupported() {
        return false;
    }
}
