package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.engine.SnapshotView;
import io.headrace.slimbase.registry.BackendContext;
import io.headrace.slimbase.snapshot.CheckpointResources.SegmentPart;
import java.io.Closeable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import javax.annotation.Nonnull;
import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.SnapshotType.SharingFilesStrategy;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.SnapshotStrategy;
import org.apache.flink.runtime.state.StreamStateHandle;

/**
 * Incremental checkpoints and native savepoints. The synchronous part seals the log and copies the arrays of timers; its time does not grow with
 * the state.
 */
public final class SlimCheckpointStrategy<K>
        implements SnapshotStrategy<KeyedStateHandle, CheckpointResources>, CheckpointListener, Closeable {
    private static final String DESCRIPTION = "Asynchronous incremental SlimBase snapshot";

    private final BackendContext<K> context;
    private final UploadHistory history;
    private final CheckpointOperation.Environment environment;
    private final FilesInCheckpoints filesInCheckpoints;

    /** A strategy for a backend that was just restored, or is new. */
    public SlimCheckpointStrategy(BackendContext<K> context, RestoredState restored) {
        this.context = context;
        this.history = restored.history();
        this.environment =
                new CheckpointOperation.Environment(
                        restored.backendUuid(), context.keyGroupRange(), history, new Transfers(), LocalFiles.of(context, restored));
        this.filesInCheckpoints = new FilesInCheckpoints(context, history, restored.backendUuid());
    }

    /** For the log. */
    public String getDescription() {
        return DESCRIPTION;
    }

    @Override
    public CheckpointResources syncPrepareResources(long checkpointId) {
        filesInCheckpoints.begun(checkpointId);
        TimerQueues timers = TimerQueues.take(context.registry());
        Descriptions descriptions = Descriptions.take(context, timers);
        SnapshotView view = context.engine().seal();
        List<SegmentPart> parts = new ArrayList<>(view.segments().size());
        for (SegmentView segment : view.segments()) {
            parts.add(new SegmentPart(segment, (FileReference) segment.tag()));
        }
        return new CheckpointResources(view, parts, timers, descriptions, history.confirmed());
    }

    @Override
    public SnapshotResultSupplier<KeyedStateHandle> asyncSnapshot(
            CheckpointResources resources,
            long checkpointId,
            long timestamp,
            @Nonnull CheckpointStreamFactory streamFactory,
            @Nonnull CheckpointOptions checkpointOptions) {
        if (resources.isEmpty()) {
            return registry -> SnapshotResult.empty();
        }
        SharingFilesStrategy sharing = checkpointOptions.getCheckpointType().getSharingFilesStrategy();
        Map<String, StreamStateHandle> reusable =
                sharing == SharingFilesStrategy.FORWARD_BACKWARD ? resources.confirmed : Map.of();
        return new CheckpointOperation(environment, resources, reusable, checkpointId, sharing, streamFactory);
    }

    @Override
    public void notifyCheckpointComplete(long checkpointId) {
        history.complete(checkpointId);
        filesInCheckpoints.completed(checkpointId);
    }

    @Override
    public void notifyCheckpointAborted(long checkpointId) {
        history.abort(checkpointId);
    }

    /** Nothing to do: which files are still wanted, the JobManager knows. */
    public void notifyCheckpointSubsumed(long checkpointId) {}

    @Override
    public void close() {
        environment.close();
    }
}
