package io.headrace.slimbase.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.headrace.slimbase.engine.Memory;
import java.io.ByteArrayOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What a file says of its entries' last accesses, from version 3 on. */
class AccessTimesTest {
    private static final Path GOLDEN = Path.of("../../tests/unit/state/fixtures");

    /** The length of a value stands for the time of its last access. */
    private static final AccessTimes LENGTHS = (identity, value, valueLength) -> identity == 1 ? AccessTimes.ALWAYS : valueLength;

    private static byte[] rewritten(String name, AccessTimes times) throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (EntryCursor all =
                new EntryCursor(SegmentReader.open(FileSources.local(GOLDEN.resolve(name))), 0, FileFormat.KEY_GROUP_LIMIT)) {
            FileBuilder builder = new FileBuilder(out, 77, times);
            while (all.next()) {
                builder.add(
                        all.keyGroup(),
                        all.identity(),
                        all.flags(),
                        all.keyAddress(),
                        all.keyLength(),
                        all.valueAddress(),
                        all.valueLength());
            }
            builder.finish();
        }
        return out.toByteArray();
    }

    private static long[] latest(FileSource source) throws Exception {
        try (LookupFile file = LookupFile.open(source)) {
            return java.util.Arrays.stream(file.statistics()).mapToLong(row -> row[5]).toArray();
        }
    }

    /** The writer gives the file that all readers are tested with; states with the latest of their entries, those without a known time with none. */
    @Test
    void goldenFile() throws Exception {
        byte[] content = rewritten("version-2.slim", LENGTHS);
        assertArrayEquals(Files.readAllBytes(GOLDEN.resolve("version-3.slim")), content);
        long[] latest = latest(FileSources.bytes("f", content));
        assertEquals(40_000, latest[0]);
        assertEquals(AccessTimes.ALWAYS, latest[1]);
        assertEquals(300, latest[2]);
    }

    /** Files of older versions are wanted always; without times to read the writer still writes version 2. */
    @Test
    void olderFilesAreWantedAlways() throws Exception {
        byte[] plain = rewritten("version-2.slim", null);
        assertEquals(FileFormat.VERSION_WITHOUT_TIMES, plain[8]);
        for (FileSource source :
                List.of(
                        FileSources.local(GOLDEN.resolve("version-1.slim")),
                        FileSources.local(GOLDEN.resolve("version-2.slim")),
                        FileSources.bytes("f", plain))) {
            for (long latest : latest(source)) {
                assertEquals(AccessTimes.ALWAYS, latest, source.name());
            }
        }
    }

    /** A state of which there are only tombstones is not wanted at all, whatever the file's version. */
    @Test
    void tombstonesAloneAreNotWanted() throws Exception {
        long key = Memory.allocate(8);
        for (AccessTimes times : new AccessTimes[] {null, LENGTHS}) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            FileBuilder builder = new FileBuilder(out, 5, times);
            Memory.putLong(key, 9);
            builder.add(3, 4, FileFormat.ENTRY_TOMBSTONE, key, Long.BYTES, key, 0);
            builder.add(3, 6, 0, key, Long.BYTES, key, 5);
            builder.finish();
            assertArrayEquals(
                    new long[] {AccessTimes.NEVER, times == null ? AccessTimes.ALWAYS : 5},
                    latest(FileSources.bytes("f", out.toByteArray())));
        }
        Memory.free(key);
    }
}
