package io.headrace.slimbase.snapshot;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.runtime.state.PlaceholderStreamStateHandle;
import org.apache.flink.runtime.state.StreamStateHandle;

/**
 * Which files which checkpoint has, from the last completed one on. Thread-safe.
 *
 * <p>Only a file of the last completed checkpoint may be used again, and not when a later checkpoint has uploaded it anew: the JobManager may
 * complete that one first and then delete the older file (FLINK-25395 and its like).
 */
final class UploadHistory {
    private final TreeMap<Long, Map<String, StreamStateHandle>> filesByCheckpoint = new TreeMap<>();
    /** Where the files of the last completed checkpoint are, no placeholders. */
    private final Map<String, StreamStateHandle> places = new HashMap<>();

    private long lastCompleted = -1;

    /** Files of a restored, hence completed, checkpoint; may be called for several handles. */
    synchronized void addRestored(long checkpointId, Map<String, StreamStateHandle> files) {
        filesByCheckpoint.computeIfAbsent(checkpointId, ignored -> new HashMap<>()).putAll(files);
        places.putAll(files);
        lastCompleted = Math.max(lastCompleted, checkpointId);
    }

    /** What a checkpoint consists of, placeholders for what it uses again. */
    synchronized void add(long checkpointId, Map<String, StreamStateHandle> files) {
        filesByCheckpoint.put(checkpointId, Map.copyOf(files));
    }

    synchronized void complete(long checkpointId) {
        // A savepoint is not in the map; completing it must not turn the next checkpoint into a full one (FLINK-23949).
        if (checkpointId > lastCompleted && filesByCheckpoint.containsKey(checkpointId)) {
            filesByCheckpoint.headMap(checkpointId).clear();
            lastCompleted = checkpointId;
            Map<String, StreamStateHandle> files = filesByCheckpoint.get(checkpointId);
            files.forEach(
                    (name, handle) -> {
                        if (!(handle instanceof PlaceholderStreamStateHandle)) {
                            places.put(name, handle);
                        }
                    });
            places.keySet().retainAll(files.keySet());
        }
    }

    synchronized void abort(long checkpointId) {
        filesByCheckpoint.remove(checkpointId);
    }

    /** Files that the next checkpoint may use again, by name. */
    synchronized Map<String, StreamStateHandle> confirmed() {
        Map<String, StreamStateHandle> base = filesByCheckpoint.get(lastCompleted);
        if (base == null) {
            return Map.of();
        }
        Map<String, StreamStateHandle> confirmed = new HashMap<>(base);
        for (Map<String, StreamStateHandle> later : filesByCheckpoint.tailMap(lastCompleted, false).values()) {
            later.forEach(
                    (name, handle) -> {
                        if (!(handle instanceof PlaceholderStreamStateHandle)) {
                            confirmed.remove(name);
                        }
                    });
        }
        return confirmed;
    }

    /** Where the files are that {@link #confirmed} names, by name. */
    synchronized Map<String, StreamStateHandle> confirmedPlaces() {
        Map<String, StreamStateHandle> found = new HashMap<>(places);
        found.keySet().retainAll(confirmed().keySet());
        return found;
    }

    /** Where checkpoints that were not completed, as far as we heard, have a file anew; newest first. */
    synchronized List<StreamStateHandle> uploadedAnew(String name) {
        List<StreamStateHandle> found = new ArrayList<>();
        for (Map<String, StreamStateHandle> files : filesByCheckpoint.tailMap(lastCompleted, false).descendingMap().values()) {
            StreamStateHandle handle = files.get(name);
            if (handle != null && !(handle instanceof PlaceholderStreamStateHandle)) {
                found.add(handle);
            }
        }
        return found;
    }
}
