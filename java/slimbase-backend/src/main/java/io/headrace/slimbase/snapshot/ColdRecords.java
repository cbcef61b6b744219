package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.RecordArena;
import io.headrace.slimbase.engine.SegmentView;
import java.util.ArrayList;
import java.util.List;

/** What files have of one key group, as records in memory, oldest first. One thread. */
final class ColdRecords implements AutoCloseable {
    private final List<ColdFile> files = new ArrayList<>();
    private final RecordArena arena = new RecordArena();

    ColdRecords(List<SegmentView> views) {
        for (SegmentView view : views) {
            if (view.file() != null) {
                files.add(view.file());
            }
        }
    }

    /** Loads a key group in the place of the one before; returns the number of records. */
    int load(int keyGroup) {
        arena.clear();
        for (ColdFile file : files) {
            if (keyGroup < file.firstKeyGroup() || keyGroup > file.lastKeyGroup()) {
                continue;
            }
            try (ColdFile.Cursor cursor = file.cursor(keyGroup)) {
                while (cursor.next()) {
                    long value =
                            arena.add(
                                    keyGroup, cursor.identity(), cursor.flags(), cursor.keyAddress(), cursor.keyLength(), cursor.valueLength());
                    Memory.copy(cursor.valueAddress(), value, cursor.valueLength());
                }
            }
        }
        return arena.count();
    }

    long record(int index) {
        return arena.record(index);
    }

    @Override
    public void close() {
        arena.close();
    }
}
