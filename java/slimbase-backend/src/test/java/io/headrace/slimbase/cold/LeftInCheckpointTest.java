package io.headrace.slimbase.cold;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.engine.KeyGroupSpan;
import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.MemoryBudget;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.engine.UnsafeAllocator;
import io.headrace.slimbase.file.FileMerge;
import io.headrace.slimbase.file.MergeResult;
import io.headrace.slimbase.file.ValueFilter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A checkpoint's file takes the place of this machine's, though it was written without what had expired by then and so has other blocks. */
class LeftInCheckpointTest {
    private static final int KEYS = 60_000;
    private static final int VALUE_BYTES = 24;

    @TempDir Path folder;

    private static final class EvenKeys implements ValueFilter {
        @Override
        public boolean keep(long record) {
            return true;
        }

        @Override
        public boolean keepEntry(int identity, long key, int keyLength, long value, int valueLength) {
            return Memory.getLong(key) % 2 == 0;
        }
    }

    @Test
    void fileWithoutWhatExpired() throws Exception {
        LocalColdStore store = new LocalColdStore(folder.resolve("files"), new NothingExpires(), 8 << 20);
        long scratch = Memory.allocate(64);
        try (SlimEngine engine =
                new SlimEngine(new MemoryBudget(2 << 20), new UnsafeAllocator(), new KeyGroupSpan(0, 1), id -> "s" + id, store)) {
            for (long key = 0; key < KEYS; key++) {
                Memory.putLong(scratch, key);
                Memory.putLong(scratch + 8, key);
                engine.put(0, 0, scratch, Long.BYTES, scratch + 8, VALUE_BYTES);
            }
            List<ColdFile> files = engine.files();
            assertTrue(files.size() > 1, files.size() + " files");
            for (ColdFile file : files) {
                assertTrue(store.leaveInCheckpoint(file, CheckpointFile.local(withoutOddKeys(file))));
            }
            int gone = 0;
            for (long key = 0; key < KEYS; key++) {
                Memory.putLong(scratch, key);
                long record = engine.find(0, 0, scratch, Long.BYTES);
                if (record == 0) {
                    assertEquals(1, key % 2, "key " + key + " is lost");
                    gone++;
                } else {
                    assertEquals(key, Memory.getLong(Record.valueAddress(record)));
                }
            }
            assertTrue(gone > KEYS / 8, gone + " keys were read from the checkpoint's files");
        } finally {
            Memory.free(scratch);
        }
    }

    private Path withoutOddKeys(ColdFile file) throws Exception {
        Path stored = Files.createDirectories(folder.resolve("stored-" + file.number()));
        MergeResult result =
                new FileMerge(stored, file::storedNumber).oldest(true).filter(new EvenKeys()).merge(List.of(((PackedFile) file).scan()));
        assertEquals(1, result.outputs().size());
        return result.outputs().get(0).path();
    }
}
