package io.headrace.slimbase.file;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.engine.KeyHash;
import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.SlimBaseException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LookupFileTest {
    private static final Path GOLDEN = Path.of("../../tests/unit/state/fixtures");

    @TempDir Path directory;

    /** What a lookup gives of a key, as text. */
    static List<String> find(LookupFile file, int keyGroup, int identity, byte[] key) throws IOException {
        long address = Memory.allocate(key.length + 1L);
        try {
            Memory.copyFromArray(key, 0, key.length, address);
            List<String> found = new ArrayList<>();
            int count =
                    file.find(
                            keyGroup,
                            identity,
                            KeyHash.hash(identity, address, key.length),
                            address,
                            key.length,
                            (group, id, flags, at, length, value, valueLength) ->
                                    found.add(RandomFile.text(group, id, flags, Entries.bytes(at, length), Entries.bytes(value, valueLength))));
            assertEquals(count, found.size());
            return found;
        } finally {
            Memory.free(address);
        }
    }

    private static boolean mayContain(LookupFile file, int identity, byte[] key) {
        long address = Memory.allocate(key.length + 1L);
        Memory.copyFromArray(key, 0, key.length, address);
        boolean may = file.mayContain(KeyHash.hash(identity, address, key.length));
        Memory.free(address);
        return may;
    }

    /** Every key of files with tombstones, chains, auxiliary records and large values is found with all its entries, and nothing else is. */
    @Test
    void findsWhatTheModelHas() throws Exception {
        for (int seed = 0; seed < 30; seed++) {
            RandomFile model = new RandomFile(seed);
            byte[] content = model.write();
            try (LookupFile file = LookupFile.open(FileSources.bytes("f", content))) {
                assertEquals(model.entryCount(), file.entryCount());
                assertEquals(seed, file.segmentNumber());
                assertEquals(content.length, file.length());
                for (RandomFile.Key key : model.keys()) {
                    assertTrue(mayContain(file, key.identity, key.bytes), "seed=" + seed + " key=" + key);
                    assertEquals(model.entries(key), find(file, key.keyGroup, key.identity, key.bytes), "seed=" + seed + " key=" + key);
                }
                for (RandomFile.Key key : model.absent(2000)) {
                    assertEquals(List.of(), find(file, key.keyGroup, key.identity, key.bytes), "seed=" + seed + " key=" + key);
                }
            }
        }
    }

    /** A hit reads once, unless its entries go on in the next block; opening takes two reads. */
    @Test
    void oneReadAHit() throws Exception {
        RandomFile model = RandomFile.plain(5, 20_000);
        CountingSource source = new CountingSource(FileSources.bytes("f", model.write()));
        try (LookupFile file = LookupFile.open(source)) {
            assertEquals(2, source.reads);
            source.reads = 0;
            for (RandomFile.Key key : model.keys()) {
                assertEquals(1, find(file, key.keyGroup, key.identity, key.bytes).size());
            }
            assertEquals(model.keys().size(), source.reads);
        }
    }

    /** Of absent keys at most one in 125 needs a read: 12 bits a key. Memory is as small as that says. */
    @Test
    void filterErrsForFew() throws Exception {
        RandomFile model = RandomFile.plain(6, 100_000);
        byte[] content = model.write();
        try (LookupFile file = LookupFile.open(FileSources.bytes("f", content))) {
            List<RandomFile.Key> absent = model.absent(200_000);
            long wrong = absent.stream().filter(key -> mayContain(file, key.identity, key.bytes)).count();
            assertTrue(wrong * 125 < absent.size(), "wrong=" + wrong + " of " + absent.size());
            assertTrue(file.memoryBytes() < 100_000 * 1.6 + content.length / 100.0 + 100, "bytes=" + file.memoryBytes());
        }
    }

    /** A filter that was sized by a bound is folded when there are fewer keys, and knows them all. */
    @Test
    void foldedFilter() throws Exception {
        RandomFile model = RandomFile.plain(7, 5_000);
        try (LookupFile exact = LookupFile.open(FileSources.bytes("f", model.write()));
                LookupFile folded = LookupFile.open(FileSources.bytes("g", model.write(60_000)))) {
            assertTrue(folded.memoryBytes() < 2.1 * exact.memoryBytes(), folded.memoryBytes() + " > 2 * " + exact.memoryBytes());
            for (RandomFile.Key key : model.keys()) {
                assertTrue(mayContain(folded, key.identity, key.bytes));
            }
        }
    }

    /** Files of all versions give the same entries, scanned and looked up. */
    @Test
    void goldenFiles() throws Exception {
        List<String> expected = Entries.dump(FileSources.local(GOLDEN.resolve("version-2.slim")));
        assertEquals(1578, expected.size());
        for (String name : List.of("version-1.slim", "version-2.slim", "version-3.slim")) {
            assertEquals(expected, Entries.dump(FileSources.local(GOLDEN.resolve(name))), name);
            List<String> found = new ArrayList<>();
            List<RandomFile.Key> keys = RandomFile.keysOf(FileSources.local(GOLDEN.resolve(name)));
            try (LookupFile file = LookupFile.open(FileSources.local(GOLDEN.resolve(name)))) {
                assertEquals(2, file.firstKeyGroup());
                assertEquals(300, file.lastKeyGroup());
                for (RandomFile.Key key : keys) {
                    assertTrue(mayContain(file, key.identity, key.bytes), name);
                    found.addAll(find(file, key.keyGroup, key.identity, key.bytes));
                }
            }
            assertEquals(expected, found, name);
        }
    }

    /** An empty file has nothing. */
    @Test
    void emptyFile() throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        new FileBuilder(out, 3).finish();
        try (LookupFile file = LookupFile.open(FileSources.bytes("f", out.toByteArray()))) {
            assertTrue(file.lastKeyGroup() < file.firstKeyGroup());
            assertEquals(List.of(), find(file, 0, 0, new byte[] {1}));
            assertTrue(!mayContain(file, 0, new byte[] {1}));
            file.willNeed(0, 0, 5);
        }
    }

    /** Whatever bit changes, but for the header's, and wherever the file is cut off, some key's lookup is refused, and none gives a wrong answer. */
    @Test
    void damageNeverGivesWrongAnswers() throws Exception {
        long seed = 20_261_125;
        Random random = new Random(seed);
        RandomFile model = new RandomFile(11);
        byte[] content = model.write();
        List<RandomFile.Key> keys = model.keys();
        for (int round = 0; round < 1000; round++) {
            byte[] damaged = content.clone();
            if (round % 5 == 0) {
                damaged = Arrays.copyOf(content, random.nextInt(content.length));
            } else {
                // The last 3 KiB are filter, footer and trailer.
                int body = content.length - FileFormat.HEADER_BYTES;
                int at = content.length - 1 - random.nextInt(round % 2 == 0 ? body : 3000);
                damaged[at] ^= (byte) (1 << random.nextInt(8));
            }
            boolean isRefused = false;
            try (LookupFile file = LookupFile.open(FileSources.bytes("damaged.slim", damaged))) {
                for (RandomFile.Key key : keys) {
                    assertTrue(mayContain(file, key.identity, key.bytes), "seed=" + seed + " round=" + round);
                    assertEquals(model.entries(key), find(file, key.keyGroup, key.identity, key.bytes), "seed=" + seed + " round=" + round);
                }
            } catch (SlimBaseException e) {
                assertTrue(e.kind() == SlimBaseException.Kind.Corrupt || e.kind() == SlimBaseException.Kind.Unsupported, e.toString());
                assertTrue(e.getMessage().contains("damaged.slim"), e.getMessage());
                isRefused = true;
            }
            assertTrue(isRefused, "seed=" + seed + " round=" + round);
        }
    }

    /** A flipped block names file and block. */
    @Test
    void damageIsNamed() throws Exception {
        RandomFile model = RandomFile.plain(8, 3000);
        byte[] content = model.write();
        content[30] ^= 1;
        RandomFile.Key first = model.keys().get(0);
        try (LookupFile file = LookupFile.open(FileSources.bytes("x-1.slim", content))) {
            SlimBaseException e =
                    assertThrows(SlimBaseException.class, () -> find(file, first.keyGroup, first.identity, first.bytes));
            assertTrue(e.getMessage().startsWith("checksum does not fit, file=`x-1.slim`, block=0, stored_crc32c="), e.getMessage());
        }
    }

    /** A thread whose interrupt flag is set reads local files all the same, and keeps the flag; hints do no harm. */
    @Test
    void interruptedThreadReads() throws Exception {
        RandomFile model = RandomFile.plain(9, 1000);
        Path path = Files.write(directory.resolve("f.slim"), model.write());
        RandomFile.Key key = model.keys().get(500);
        try (LookupFile file = LookupFile.open(FileSources.local(path))) {
            Thread.currentThread().interrupt();
            file.willNeed(key.keyGroup, key.identity, 1L << 63);
            assertEquals(model.entries(key), find(file, key.keyGroup, key.identity, key.bytes));
            assertTrue(Thread.interrupted());
            assertEquals(model.entries(key), find(file, key.keyGroup, key.identity, key.bytes));
        }
    }

    /** Counts the reads. */
    private static final class CountingSource implements FileSource {
        private final FileSource inner;
        int reads;

        CountingSource(FileSource inner) {
            this.inner = inner;
        }

        @Override
        public String name() {
            return inner.name();
        }

        @Override
        public long length() {
            return inner.length();
        }

        @Override
        public void read(long position, byte[] to, int offset, int bytes) throws IOException {
            reads++;
            inner.read(position, to, offset, bytes);
        }

        @Override
        public void read(long position, ByteBuffer to) throws IOException {
            reads++;
            inner.read(position, to);
        }

        @Override
        public void close() throws IOException {
            inner.close();
        }
    }
}
