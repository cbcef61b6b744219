package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SharedStateRegistry;
import org.apache.flink.runtime.state.SharedStateRegistryImpl;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;
import org.apache.flink.runtime.state.filesystem.FsCheckpointStorageLocation;
import org.apache.flink.util.InstantiationUtil;

/**
 * The JobManager's side: Flink's own registry of shared files over a folder, the newest checkpoints retained. What crosses from a task to here is
 * serialized and read again, as between processes.
 */
final class TestJobManager {
    /** A completed checkpoint. */
    static final class Completed {
        final long id;
        final List<KeyedStateHandle> handles;
        final TestJob.Model model;

        Completed(long id, List<KeyedStateHandle> handles, TestJob.Model model) {
            this.id = id;
            this.handles = handles;
            this.model = model;
        }
    }

    private static final int WRITE_BUFFER = 4096;

    private final Path folder;
    private final int retained;
    private final int inlineLimit;
    private final String scheme;
    private SharedStateRegistry registry = new SharedStateRegistryImpl();
    private final ConcurrentSkipListMap<Long, Completed> completed = new ConcurrentSkipListMap<>();

    /** Files of up to `inlineLimit` bytes go into the handle itself. */
    TestJobManager(Path folder, int retained, int inlineLimit) throws IOException {
        this(folder, retained, inlineLimit, "file");
    }

    /** With the folder under another scheme of Flink's than that of local files. */
    TestJobManager(Path folder, int retained, int inlineLimit, String scheme) throws IOException {
        this.folder = folder;
        this.retained = retained;
        this.inlineLimit = inlineLimit;
        this.scheme = scheme;
        Files.createDirectories(folder.resolve("shared"));
    }

    CheckpointStreamFactory streams(long id) throws IOException {
        return streams(id, WRITE_BUFFER);
    }

    CheckpointStreamFactory streams(long id, int bufferBytes) throws IOException {
        org.apache.flink.core.fs.Path shared = under(folder.resolve("shared"));
        return new FsCheckpointStorageLocation(
                shared.getFileSystem(),
                under(Files.createDirectories(folder.resolve("chk-" + id))),
                shared,
                under(folder.resolve("taskowned")),
                CheckpointStorageLocationReference.getDefault(),
                inlineLimit,
                bufferBytes);
    }

    private org.apache.flink.core.fs.Path under(Path path) {
        return new org.apache.flink.core.fs.Path(scheme + "://" + path);
    }

    /** Another one that knows the completed checkpoints that this one knows now. Any thread. */
    TestJobManager successor() throws Exception {
        TestJobManager successor = new TestJobManager(folder, retained, inlineLimit, scheme);
        successor.completed.putAll(completed);
        successor.restart();
        return successor;
    }

    static <T extends java.io.Serializable> T overTheWire(T object) throws Exception {
        return InstantiationUtil.clone(object);
    }

    /** All subtasks have acknowledged: the checkpoint counts, older ones go. */
    void complete(long id, List<KeyedStateHandle> handles, TestJob.Model model) throws Exception {
        List<KeyedStateHandle> ours = new ArrayList<>();
        for (KeyedStateHandle handle : handles) {
            ours.add(overTheWire(handle));
        }
        ours.forEach(handle -> handle.registerSharedStates(registry, id));
        completed.put(id, new Completed(id, ours, model));
        while (completed.size() > retained) {
            Completed oldest = completed.pollFirstEntry().getValue();
            for (KeyedStateHandle handle : oldest.handles) {
                handle.discardState();
            }
            registry.unregisterUnusedState(completed.firstKey());
        }
    }

    /** The checkpoint is given up: what the subtasks have acknowledged is discarded. */
    static void discard(List<KeyedStateHandle> handles) throws Exception {
        for (KeyedStateHandle handle : handles) {
            overTheWire(handle).discardState();
        }
    }

    /** The newest completed checkpoint, with a fresh registry, as after a restart of the job. */
    Completed restart() throws Exception {
        registry = new SharedStateRegistryImpl();
        TreeMap<Long, Completed> before = new TreeMap<>(completed);
        completed.clear();
        for (Completed each : before.values()) {
            List<KeyedStateHandle> handles = new ArrayList<>();
            for (KeyedStateHandle handle : each.handles) {
                KeyedStateHandle again = overTheWire(handle);
                again.registerSharedStates(registry, each.id);
                handles.add(again);
            }
            completed.put(each.id, new Completed(each.id, handles, each.model));
        }
        return completed.isEmpty() ? null : completed.lastEntry().getValue();
    }

    List<KeyedStateHandle> handlesForRestore() throws Exception {
        List<KeyedStateHandle> handles = new ArrayList<>();
        if (!completed.isEmpty()) {
            for (KeyedStateHandle handle : completed.lastEntry().getValue().handles) {
                handles.add(overTheWire(handle));
            }
        }
        return handles;
    }

    /** Paths that retained checkpoints refer to. */
    TreeSet<String> referenced() {
        TreeSet<String> paths = new TreeSet<>();
        for (Completed each : completed.values()) {
            for (KeyedStateHandle handle : each.handles) {
                ((IncrementalRemoteKeyedStateHandle) handle).streamSubHandles().forEach(file -> addPath(file, paths));
            }
        }
        return paths;
    }

    private static void addPath(StreamStateHandle handle, TreeSet<String> paths) {
        if (handle instanceof FileStateHandle) {
            paths.add(((FileStateHandle) handle).getFilePath().getPath());
        }
    }

    TreeSet<String> present() throws IOException {
        try (Stream<Path> files = Files.walk(folder)) {
            return files.filter(Files::isRegularFile)
                    .map(Path::toString)
                    .collect(Collectors.toCollection(TreeSet::new));
        }
    }

    /** No file is missing, and none is left over. */
    void verifyFiles(String where) throws Exception {
        assertEquals(referenced(), present(), where);
    }
}
