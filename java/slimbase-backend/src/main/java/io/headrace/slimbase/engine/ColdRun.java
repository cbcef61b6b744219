package io.headrace.slimbase.engine;

import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/** Files without a common key group. */
final class ColdRun {
    final List<ColdFile> files = new ArrayList<>();
    /** By key group of the engine, from its first one on; null where no file has it. */
    final ColdFile[] byGroup;

    private final int firstKeyGroup;
    /** Bytes, estimated, of which a newer version or a tombstone is in that newer run. */
    final Map<ColdRun, Long> deadFor = new IdentityHashMap<>();

    ColdRun(int firstKeyGroup, int keyGroupCount) {
        this.firstKeyGroup = firstKeyGroup;
        this.byGroup = new ColdFile[keyGroupCount];
    }

    /** Adds the file unless one of its key groups has a file already. */
    boolean add(ColdFile file) {
        int first = Math.max(0, file.firstKeyGroup() - firstKeyGroup);
        int last = Math.min(byGroup.length - 1, file.lastKeyGroup() - firstKeyGroup);
        for (int group = first; group <= last; group++) {
            if (byGroup[group] != null) {
                return false;
            }
        }
        for (int group = first; group <= last; group++) {
            byGroup[group] = file;
        }
        files.add(file);
        return true;
    }

    void remove(ColdFile file) {
        double left = 1 - (double) file.bytes() / bytes();
        deadFor.replaceAll((newer, dead) -> (long) (dead * left));
        files.remove(file);
        for (int group = 0; group < byGroup.length; group++) {
            byGroup[group] = byGroup[group] == file ? null : byGroup[group];
        }
    }

    long bytes() {
        long sum = 0;
        for (ColdFile file : files) {
            sum += file.bytes();
        }
        return sum;
    }

    /** What filters and block indexes take. */
    long memoryBytes() {
        long sum = 0;
        for (ColdFile file : files) {
            sum += file.memoryBytes();
        }
        return sum;
    }

    long tombstoneBytes() {
        long sum = 0;
        for (ColdFile file : files) {
            sum += file.tombstoneBytes();
        }
        return sum;
    }

    /** What is dead of it. A filter that is wrong now and then makes it no more than all. */
    long deadBytes() {
        return Math.min(bytes(), deadFor.values().stream().mapToLong(Long::longValue).sum());
    }
}
