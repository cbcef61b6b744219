package io.headrace.slimbase.file;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.engine.SlimBaseException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class EntryCursorTest {
    private static List<String> pull(byte[] content, int first, int last) throws IOException {
        List<String> entries = new ArrayList<>();
        try (EntryCursor cursor = new EntryCursor(SegmentReader.open(FileSources.bytes("c.slim", content)), first, last)) {
            RandomFile.Key before = null;
            while (cursor.next()) {
                RandomFile.Key key =
                        new RandomFile.Key(cursor.keyGroup(), cursor.identity(), Entries.bytes(cursor.keyAddress(), cursor.keyLength()));
                assertEquals(key.hash, cursor.hash());
                assertEquals(key.equals(before), cursor.isContinued());
                before = key;
                byte[] value = Entries.bytes(cursor.valueAddress(), cursor.valueLength());
                entries.add(RandomFile.text(key.keyGroup, key.identity, cursor.flags(), key.bytes, value));
            }
            assertTrue(!cursor.next());
        }
        return entries;
    }

    private static List<String> push(byte[] content, int first, int last) throws IOException {
        List<String> entries = new ArrayList<>();
        try (SegmentReader reader = SegmentReader.open(FileSources.bytes("f", content))) {
            reader.forEach(
                    first,
                    last,
                    (group, identity, flags, key, keyLength, value, valueLength) ->
                            entries.add(RandomFile.text(group, identity, flags, Entries.bytes(key, keyLength), Entries.bytes(value, valueLength))));
        }
        return entries;
    }

    /** A cursor gives what the reader gives, for any range, with keys that go on over the ends of blocks. */
    @Test
    void sameAsReader() throws Exception {
        for (int seed = 100; seed < 120; seed++) {
            RandomFile file = new RandomFile(seed);
            byte[] content = file.write();
            Random random = new Random(seed);
            assertEquals(file.entryCount(), pull(content, 0, FileFormat.KEY_GROUP_LIMIT).size());
            for (int range = 0; range < 20; range++) {
                int first = random.nextInt(200) - 20;
                int last = first + random.nextInt(100);
                assertEquals(push(content, first, last), pull(content, first, last), "seed=" + seed + " " + first + "-" + last);
            }
        }
    }

    /** Damage is refused with the file's name, or gives the same entries. */
    @Test
    void damage() throws Exception {
        long seed = 4711;
        Random random = new Random(seed);
        byte[] content = new RandomFile(13).write();
        List<String> expected = pull(content, 0, FileFormat.KEY_GROUP_LIMIT);
        for (int round = 0; round < 500; round++) {
            byte[] damaged = content.clone();
            damaged[random.nextInt(content.length)] ^= (byte) (1 << random.nextInt(8));
            boolean isRefused = false;
            try {
                pull(damaged, 0, FileFormat.KEY_GROUP_LIMIT);
            } catch (SlimBaseException e) {
                assertTrue(e.kind() != SlimBaseException.Kind.Internal && e.getMessage().contains("c.slim"), e.getMessage());
                isRefused = true;
            }
            assertTrue(isRefused, "seed=" + seed + " round=" + round + " entries=" + expected.size());
        }
    }
}
