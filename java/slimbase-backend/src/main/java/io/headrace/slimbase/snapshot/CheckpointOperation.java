package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.snapshot.CheckpointResources.SegmentPart;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Collectors;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.checkpoint.SnapshotType.SharingFilesStrategy;
import org.apache.flink.runtime.checkpoint.filemerging.FileMergingSnapshotManager;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.CheckpointedStateScope;
import org.apache.flink.runtime.state.DirectoryStateHandle;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalLocalKeyedStateHandle;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.PlaceholderStreamStateHandle;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.SnapshotStrategy.SnapshotResultSupplier;
import org.apache.flink.runtime.state.StreamStateHandle;

/**
 * The background part of one checkpoint: pack and upload what has no confirmed file, write timers and manifest, put the handles together. When it
 * fails or is cancelled, everything that it has uploaded is deleted again.
 */
final class CheckpointOperation implements SnapshotResultSupplier<KeyedStateHandle> {
    /** What all checkpoints of a backend share. */
    static final class Environment {
        final UUID backendUuid;
        final KeyGroupRange keyGroupRange;
        final UploadHistory history;
        final Transfers transfers;
        final LocalFiles local;

        Environment(UUID backendUuid, KeyGroupRange keyGroupRange, UploadHistory history, Transfers transfers, LocalFiles local) {
            this.backendUuid = backendUuid;
            this.keyGroupRange = keyGroupRange;
            this.history = history;
            this.transfers = transfers;
            this.local = local;
        }

        void close() {
            transfers.close();
            local.close();
        }
    }

    private final Environment environment;
    private final CheckpointResources resources;
    private final Map<String, StreamStateHandle> reusable;
    private final long checkpointId;
    private final SharingFilesStrategy sharing;
    private final CheckpointStreamFactory streams;

    CheckpointOperation(
            Environment environment,
            CheckpointResources resources,
            Map<String, StreamStateHandle> reusable,
            long checkpointId,
            SharingFilesStrategy sharing,
            CheckpointStreamFactory streams) {
        this.environment = environment;
        this.resources = resources;
        this.reusable = reusable;
        this.checkpointId = checkpointId;
        this.sharing = sharing;
        this.streams = streams;
    }

    @Override
    public SnapshotResult<KeyedStateHandle> get(CloseableRegistry cancel) throws Exception {
        try (LocalSnapshot local = environment.local.begin(checkpointId, sharing);
                Uploader uploader = new Uploader(streams, cancel, local, resources.view)) {
            List<Placed> placed = place(uploader);
            Optional<HandleAndLocalPath> timers = writeTimers(uploader);
            SnapshotResult<StreamStateHandle> meta =
                    uploader.writeMeta(local.metaStream(streams), resources.proxy, manifest(placed));
            Map<String, HandleAndLocalPath> shared = shared(placed);
            IncrementalRemoteKeyedStateHandle remote =
                    new IncrementalRemoteKeyedStateHandle(
                            environment.backendUuid,
                            environment.keyGroupRange,
                            checkpointId,
                            new ArrayList<>(shared.values()),
                            timers.map(List::of).orElse(List.of()),
                            meta.getJobManagerOwnedSnapshot(),
                            uploader.uploadedBytes());
            // Nothing after this fails: the files are the checkpoint's now.
            uploader.keep();
            remember(shared.values());
            streams.reusePreviousStateHandle(reused(shared.values()));
            return withLocal(remote, meta, local, shared.values());
        }
    }

    private static List<StreamStateHandle> reused(Collection<HandleAndLocalPath> shared) {
        return shared.stream()
                .map(HandleAndLocalPath::getHandle)
                .filter(PlaceholderStreamStateHandle.class::isInstance)
                .collect(Collectors.toList());
    }

    /** A segment's row of the manifest and its file. */
    private static final class Placed {
        final FileReference reference;
        final StreamStateHandle handle;

        Placed(FileReference reference, StreamStateHandle handle) {
            this.reference = reference;
            this.handle = handle;
        }
    }

    private List<Placed> place(Uploader uploader) throws Exception {
        Placed[] rows = new Placed[resources.segments.size()];
        List<SegmentUpload> uploads = new ArrayList<>();
        List<Integer> uploadRows = new ArrayList<>();
        List<FileReference> uploadReferences = new ArrayList<>();
        CheckpointedStateScope scope = scope();
        for (int i = 0; i < rows.length; i++) {
            SegmentPart part = resources.segments.get(i);
            if (rangeOf(part.view).getNumberOfKeyGroups() == 0) {
                uploader.release(part);
                continue;
            }
            rows[i] = reuse(part);
            if (rows[i] == null) {
                FileReference own = ownReference(part, 0);
                uploads.add(uploader.upload(part, own, resources.descriptions, scope));
                uploadRows.add(i);
                uploadReferences.add(own);
            } else {
                uploader.copyLocally(part, rows[i].reference, resources.descriptions);
                uploader.release(part);
            }
        }
        List<SegmentUpload.Result> results = environment.transfers.runAll(uploads);
        for (int i = 0; i < results.size(); i++) {
            SegmentUpload.Result result = results.get(i);
            if (result != null) {
                rows[uploadRows.get(i)] = new Placed(uploadReferences.get(i).written(result.bytes, result.indexBytes), result.handle);
            }
        }
        List<Placed> placed = new ArrayList<>(rows.length);
        for (Placed row : rows) {
            if (row != null) {
                placed.add(row);
            }
        }
        return placed;
    }

    /** A savepoint's files belong to it alone. */
    private CheckpointedStateScope scope() {
        return sharing == SharingFilesStrategy.NO_SHARING ? CheckpointedStateScope.EXCLUSIVE : CheckpointedStateScope.SHARED;
    }

    private FileReference ownReference(SegmentPart part, long bytes) {
        String name = FilesInCheckpoints.name(environment.backendUuid, part.view.number());
        ColdFile file = part.view.file();
        // Of a file that was uploaded before and whose segment is still in memory it would have to be remembered; a restore asks those few files.
        return new FileReference(name, part.view.storedNumber(), bytes, file == null ? 0 : file.memoryBytes(), rangeOf(part.view));
    }

    /** The key groups that count. A file of a checkpoint that was restored to fewer key groups has old versions of others, and is copied with them. */
    private KeyGroupRange rangeOf(SegmentView view) {
        ColdFile file = view.file();
        return file == null
                ? environment.keyGroupRange
                : environment.keyGroupRange.getIntersection(KeyGroupRange.of(file.firstKeyGroup(), file.lastKeyGroup()));
    }

    /** The segment's confirmed file: its own, or the one that it was restored from. Null when it has none that may be used. */
    private Placed reuse(SegmentPart part) {
        FileReference own = ownReference(part, 0);
        StreamStateHandle handle = placeholder(own.name());
        if (handle != null) {
            return new Placed(ownReference(part, handle.getStateSize()), handle);
        }
        if (part.origin != null) {
            handle = placeholder(part.origin.name());
        }
        return handle == null ? null : new Placed(part.origin, handle);
    }

    private StreamStateHandle placeholder(String name) {
        StreamStateHandle handle = reusable.get(name);
        if (handle == null) {
            return null;
        }
        StreamStateHandle placeholder =
                new PlaceholderStreamStateHandle(
                        handle.getStreamStateHandleID(),
                        handle.getStateSize(),
                        FileMergingSnapshotManager.isFileMergingHandle(handle));
        return streams.couldReuseStateHandle(placeholder) ? placeholder : null;
    }

    private Optional<HandleAndLocalPath> writeTimers(Uploader uploader) throws Exception {
        if (resources.timers.isEmpty()) {
            return Optional.empty();
        }
        StreamStateHandle handle =
                uploader.writeFile(
                        Manifest.TIMERS, CheckpointedStateScope.EXCLUSIVE, out -> resources.timers.write(environment.keyGroupRange, out));
        return Optional.of(HandleAndLocalPath.of(handle, Manifest.TIMERS));
    }

    private Manifest manifest(List<Placed> placed) {
        List<FileReference> files = new ArrayList<>(placed.size());
        placed.forEach(each -> files.add(each.reference));
        return new Manifest(resources.states, files);
    }

    /** By name, each file once even when two rows refer to it. */
    private static Map<String, HandleAndLocalPath> shared(List<Placed> placed) {
        Map<String, HandleAndLocalPath> shared = new LinkedHashMap<>();
        for (Placed each : placed) {
            String name = each.reference.name();
            shared.putIfAbsent(name, HandleAndLocalPath.of(each.handle, name));
        }
        return shared;
    }

    private SnapshotResult<KeyedStateHandle> withLocal(
            IncrementalRemoteKeyedStateHandle remote,
            SnapshotResult<StreamStateHandle> meta,
            LocalSnapshot local,
            Collection<HandleAndLocalPath> shared) {
        StreamStateHandle localMeta = meta.getTaskLocalSnapshot();
        DirectoryStateHandle directory = localMeta == null ? null : local.complete();
        if (directory == null) {
            return SnapshotResult.of(remote);
        }
        return SnapshotResult.withLocalState(
                remote,
                new IncrementalLocalKeyedStateHandle(
                        environment.backendUuid,
                        checkpointId,
                        directory,
                        environment.keyGroupRange,
                        localMeta,
                        new ArrayList<>(shared)));
    }

    private void remember(Collection<HandleAndLocalPath> shared) {
        if (sharing == SharingFilesStrategy.NO_SHARING) {
            return;
        }
        Map<String, StreamStateHandle> files = new HashMap<>();
        shared.forEach(each -> files.put(each.getLocalPath(), each.getHandle()));
        environment.history.add(checkpointId, files);
    }
}
