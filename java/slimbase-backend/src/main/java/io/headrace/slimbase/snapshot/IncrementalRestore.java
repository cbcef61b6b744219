package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.cold.CheckpointFile;
import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.engine.Segment;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.file.EntryVisitor;
import io.headrace.slimbase.registry.BackendContext;
import io.headrace.slimbase.registry.StateInfo;
import io.headrace.slimbase.registry.StateKind;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalLocalKeyedStateHandle;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;
import org.apache.flink.util.ExceptionUtils;

/**
 * Restores our own checkpoints, of one subtask or of several after a rescale. Files are fetched in parallel and applied one after the other, each
 * to a segment of its own that remembers the file, so that the next checkpoint can use it again.
 */
final class IncrementalRestore<K> {
    private static final int STATE_IDS = 1024;
    /** What a byte of a file takes in memory, about: files are compressed and have no index. */
    private static final double BYTES_IN_MEMORY = 1.6;

    private final BackendContext<K> context;
    private final RestoredState restored;
    private final MetaReader<K> metas;
    private final QueueRestore queues;
    private final List<Job> jobs = new ArrayList<>();

    /** A file to apply. */
    private static final class Job {
        final FileFetcher fetcher;
        final FileReference reference;
        final int[] ids;
        final boolean isTimers;
        final boolean isReusable;
        /** Whether entries may be more than records: a list is several. */
        final boolean hasLists;

        Job(FileFetcher fetcher, FileReference reference, StateIds ids, boolean isTimers) {
            this.fetcher = fetcher;
            this.reference = reference;
            this.ids = ids.translated;
            this.isTimers = isTimers;
            this.isReusable = !isTimers && ids.isSame;
            this.hasLists = ids.hasLists;
        }
    }

    /** State ids of a handle's files in ours; -1 where it has none. */
    private static final class StateIds {
        final int[] translated = new int[STATE_IDS];
        boolean isSame = true;
        boolean hasLists;

        StateIds() {
            java.util.Arrays.fill(translated, -1);
        }

        void put(int theirs, int ours) {
            translated[theirs] = ours;
            isSame &= theirs == ours;
        }
    }

    IncrementalRestore(BackendContext<K> context, RestoredState restored) {
        this.context = context;
        this.restored = restored;
        this.metas = new MetaReader<>(context);
        this.queues = new QueueRestore(context);
    }

    void restore(List<IncrementalKeyedStateHandle> handles) throws Exception {
        for (IncrementalKeyedStateHandle handle : handles) {
            plan(handle);
        }
        if (isLarge()) {
            openFiles();
            return;
        }
        try (RestoreTransfers transfers = new RestoreTransfers()) {
            for (Job job : jobs) {
                transfers.submit(job.fetcher);
            }
            for (Job job : jobs) {
                apply(job);
            }
        }
    }

    private void plan(IncrementalKeyedStateHandle handle) throws Exception {
        KeyGroupRange range = handle.getKeyGroupRange().getIntersection(context.keyGroupRange());
        MetaReader.Meta<K> meta = metas.read(handle.getMetaDataStateHandle());
        StateIds ids = registerStates(meta);
        Map<String, StreamStateHandle> shared = byName(handle.getSharedStateHandles());
        if (ids.isSame) {
            restored.history().addRestored(handle.getCheckpointId(), shared);
        }
        Set<String> names = handle instanceof IncrementalLocalKeyedStateHandle ? namesIn(directory(handle)) : null;
        for (FileReference file : meta.manifest.files()) {
            FileReference ours = file.within(range);
            if (ours.range().getNumberOfKeyGroups() > 0) {
                if (names != null && !names.contains(file.localName())) {
                    // Flink goes on with the checkpoint itself, as it could not once the job runs.
                    throw MetaReader.corrupt("file is missing", directory(handle).resolve(file.localName()).toString(), null);
                }
                jobs.add(new Job(fetcher(handle, file, ours, shared.get(file.name())), ours, ids, false));
            }
        }
        planTimers(handle, range, ids);
    }

    /** Whether the files hold more than memory is likely to have room for, and can be read as they are. */
    private boolean isLarge() {
        long bytes = 0;
        for (Job job : jobs) {
            if (!job.isTimers && !job.isReusable) {
                return false;
            }
            bytes += job.isTimers ? 0 : job.reference.bytes();
        }
        return context.coldStore() != null && bytes * BYTES_IN_MEMORY > context.engine().freeBytes();
    }

    /**
     * Takes the files as they are: the index in memory is their filters, values are read when they are asked for. Several are opened at once, since
     * opening one at a store that is far away is waiting.
     */
    private void openFiles() throws IOException, InterruptedException {
        List<Future<ColdFile>> opened = new ArrayList<>();
        try (RestoreTransfers transfers = new RestoreTransfers()) {
            for (Job job : jobs) {
                if (!job.isTimers) {
                    long number = context.engine().takeNumber();
                    opened.add(transfers.submit(() -> job.fetcher.openInPlace(context.coldStore(), number)));
                }
            }
            while (!opened.isEmpty()) {
                ColdFile file = await(opened.get(0));
                opened.remove(0);
                context.engine().addRestoredFile(file);
            }
            for (Job job : jobs) {
                if (job.isTimers) {
                    transfers.submit(job.fetcher);
                    applyTimers(job);
                }
            }
        } finally {
            // Nothing runs any more; files of a failed restore that the engine does not have.
            opened.forEach(IncrementalRestore::closeIfOpened);
        }
    }

    private static ColdFile await(Future<ColdFile> file) throws IOException, InterruptedException {
        try {
            return file.get();
        } catch (ExecutionException e) {
            ExceptionUtils.rethrowIOException(e.getCause());
            throw new AssertionError("always thrown before", e);
        }
    }

    private static void closeIfOpened(Future<ColdFile> file) {
        if (!file.isDone() || file.isCancelled()) {
            return;
        }
        try {
            file.get().close(true);
        } catch (ExecutionException e) {
            // It was not opened.
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static Map<String, StreamStateHandle> byName(List<HandleAndLocalPath> files) {
        Map<String, StreamStateHandle> byName = new HashMap<>();
        files.forEach(file -> byName.put(file.getLocalPath(), file.getHandle()));
        return byName;
    }

    private FileFetcher fetcher(IncrementalKeyedStateHandle handle, FileReference file, FileReference ours, StreamStateHandle remote) {
        CheckpointFile stored;
        if (handle instanceof IncrementalLocalKeyedStateHandle) {
            stored = local(handle, file.localName());
        } else {
            if (remote == null) {
                throw MetaReader.corrupt("manifest names a file that the checkpoint lacks", file.name(), null);
            }
            stored = CheckpointFile.stored(file.name(), remote);
        }
        return new FileFetcher(file, ours.range(), stored, context.cancelRegistry());
    }

    private static CheckpointFile local(IncrementalKeyedStateHandle handle, String name) {
        return CheckpointFile.local(directory(handle).resolve(name));
    }

    private static Path directory(IncrementalKeyedStateHandle handle) {
        return ((IncrementalLocalKeyedStateHandle) handle).getDirectoryStateHandle().getDirectory();
    }

    /** One look at the folder instead of one at each file. */
    private static Set<String> namesIn(Path directory) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString()).collect(Collectors.toSet());
        }
    }

    private void planTimers(IncrementalKeyedStateHandle handle, KeyGroupRange range, StateIds ids) throws IOException {
        CheckpointFile stored = null;
        if (handle instanceof IncrementalRemoteKeyedStateHandle) {
            StreamStateHandle timers =
                    byName(((IncrementalRemoteKeyedStateHandle) handle).getPrivateState()).get(Manifest.TIMERS);
            stored = timers == null ? null : CheckpointFile.stored(Manifest.TIMERS, timers);
        } else {
            stored = Files.exists(directory(handle).resolve(Manifest.TIMERS)) ? local(handle, Manifest.TIMERS) : null;
        }
        if (stored != null) {
            FileReference reference = new FileReference(Manifest.TIMERS, 0, 0, 0, range);
            jobs.add(new Job(new FileFetcher(reference, range, stored, context.cancelRegistry()), reference, ids, true));
        }
    }

    private StateIds registerStates(MetaReader.Meta<K> meta) {
        Map<String, StateMetaInfoSnapshot> states = new HashMap<>();
        Map<String, StateMetaInfoSnapshot> timers = new HashMap<>();
        for (StateMetaInfoSnapshot snapshot : meta.proxy.getStateMetaInfoSnapshots()) {
            boolean isQueue = snapshot.getBackendStateType() == StateMetaInfoSnapshot.BackendStateType.PRIORITY_QUEUE;
            (isQueue ? timers : states).put(snapshot.getName(), snapshot);
        }
        StateIds ids = new StateIds();
        for (Manifest.State state : meta.manifest.states()) {
            boolean isQueue = state.kind == StateKind.QUEUE;
            StateMetaInfoSnapshot snapshot = (isQueue ? timers : states).get(state.name);
            if (snapshot == null) {
                throw MetaReader.corrupt("manifest's state lacks its description, state=`" + state.name + "`", "meta", null);
            }
            if (isQueue) {
                context.registry().restoreQueueStateId(state.name, state.stateId);
                queues.register(snapshot);
                // Queues stand in the timers file only, which is written anew each time.
                ids.translated[state.stateId] = context.registry().queueStateId(state.name);
            } else {
                ids.put(state.stateId, registerState(state, snapshot).stateId());
                ids.hasLists |= state.kind == StateKind.LIST;
            }
        }
        return ids;
    }

    private StateInfo registerState(Manifest.State state, StateMetaInfoSnapshot snapshot) {
        StateInfo known = context.registry().state(state.name);
        if (known != null) {
            if (known.kind() != state.kind) {
                throw MetaReader.corrupt(
                        "state has two kinds, state=`" + state.name + "`, kinds=" + known.kind() + " and " + state.kind, "meta", null);
            }
            return known;
        }
        return context.registry()
                .restore(
                        state.name,
                        state.stateId,
                        state.kind,
                        new RegisteredKeyValueStateBackendMetaInfo<>(snapshot),
                        state.ttlMs);
    }

    private void apply(Job job) throws IOException, InterruptedException {
        if (job.isTimers) {
            applyTimers(job);
            return;
        }
        SlimEngine engine = context.engine();
        engine.beginRestoredSegment();
        job.fetcher.drain(new StateEntries(job));
        Segment segment = engine.endRestoredSegment();
        if (segment != null && job.isReusable) {
            segment.setTag(job.reference);
        }
    }

    /** Hands a file's entries to the engine, with the states' ids as they are here. */
    private final class StateEntries implements EntryVisitor {
        private final SlimEngine engine = context.engine();
        private final Job job;

        StateEntries(Job job) {
            this.job = job;
        }

        @Override
        public void keyGroup(int keyGroup, int entries) {
            engine.beginRestoredKeyGroup(keyGroup, job.hasLists ? 0 : entries);
        }

        @Override
        public void ahead(int keyGroup, int identity, long key, int keyLength) {
            engine.announceRestored(keyGroup, ourId(job, identity) * 2 + (identity & 1), key, keyLength);
        }

        @Override
        public void entry(int keyGroup, int identity, int flags, long key, int keyLength, long value, int valueLength) {
            engine.restoreEntry(keyGroup, ourId(job, identity) * 2 + (identity & 1), flags, key, keyLength, value, valueLength);
        }
    }

    private int ourId(Job job, int identity) {
        int ours = job.ids[identity >>> 1];
        if (ours < 0) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Corrupt,
                    "file has a state that the manifest lacks, file=`" + job.reference.name() + "`, state_id=" + (identity >>> 1),
                    "restore an older checkpoint",
                    null);
        }
        return ours;
    }

    private void applyTimers(Job job) throws IOException, InterruptedException {
        EntryVisitor visitor =
                (keyGroup, identity, flags, key, keyLength, value, valueLength) -> {
                    try {
                        queues.add(context.registry().nameOf(ourId(job, identity)), key, keyLength);
                    } catch (IOException e) {
                        throw new UncheckedIOException(e);
                    }
                };
        try {
            job.fetcher.drain(visitor);
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
    }
}
