package io.headrace.slimbase.snapshot;

import java.util.UUID;

/** What the restore leaves for the first checkpoint: files that it may use again. */
public final class RestoredState {
    private final UUID backendUuid = UUID.randomUUID();
    private final UploadHistory history = new UploadHistory();

    RestoredState() {}

    /** Names this backend and its files. A new one each time, so that no two files of a job have one name. */
    public UUID backendUuid() {
        return backendUuid;
    }

    UploadHistory history() {
        return history;
    }
}
