package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.cold.CheckpointFile;
import io.headrace.slimbase.cold.LocalColdStore;
import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.registry.BackendContext;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;
import org.apache.flink.runtime.state.StreamStateHandle;

/**
 * Where the machine has little disk: lets files that a completed checkpoint has be read from there, so that here are only those that none has yet, and a
 * cache. Task thread.
 *
 * <p>A file may be read from a checkpoint as long as each later one uses it again. One that was begun before the earlier one's completion was heard of
 * does not: it uploads the file anew, and with its completion the older upload goes. So files move only while no such checkpoint is under way. A full
 * checkpoint that is asked for uploads all files anew; between its completion and our hearing of it, what is gone is read from there.
 */
final class FilesInCheckpoints {
    private final BackendContext<?> context;
    private final UploadHistory history;
    private final UUID backendUuid;
    /** Where files are read from that have moved, by their number. */
    private final Map<Long, StreamStateHandle> moved = new HashMap<>();

    private long newestBegun = -1;

    FilesInCheckpoints(BackendContext<?> context, UploadHistory history, UUID backendUuid) {
        this.context = context;
        this.history = history;
        this.backendUuid = backendUuid;
    }

    static String name(UUID backendUuid, long number) {
        return backendUuid + "-" + number + ".slim";
    }

    void begun(long checkpointId) {
        newestBegun = checkpointId;
    }

    void completed(long checkpointId) {
        LocalColdStore store = context.coldStore();
        if (store == null || !store.leavesFilesInCheckpoints() || newestBegun > checkpointId) {
            return;
        }
        Map<String, StreamStateHandle> places = history.confirmedPlaces();
        Map<Long, StreamStateHandle> former = new HashMap<>(moved);
        moved.clear();
        for (ColdFile file : context.engine().files()) {
            String name = name(backendUuid, file.number());
            StreamStateHandle handle = places.get(name);
            boolean isThere =
                    handle != null
                            && (handle.equals(former.get(file.number()))
                                    || store.leaveInCheckpoint(file, CheckpointFile.stored(name, handle, () -> history.uploadedAnew(name))));
            if (isThere) {
                moved.put(file.number(), handle);
            }
        }
    }
}
