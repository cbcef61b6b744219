package io.headrace.slimbase.file;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.engine.SnapshotView;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;

class SegmentFileTest {
    private static final int ALL = (1 << 15) - 1;

    /** Files of all epochs, applied in order, give the engine's content again. */
    @Test
    void roundTrip() throws Exception {
        for (int seed = 0; seed < 10; seed++) {
            Entries entries = new Entries(seed);
            for (int epoch = 0; epoch < 6; epoch++) {
                entries.change(3000);
                Map<String, String> expected = Entries.content(entries.engine);
                assertEquals(expected, Entries.restore(entries.files(), 0, ALL), "seed=" + seed + " epoch=" + epoch);
            }
            entries.engine.close();
        }
    }

    /** A key-group range gives exactly the entries of that range. */
    @Test
    void rangesArePartsOfTheWhole() throws Exception {
        Entries entries = new Entries(7);
        entries.change(20_000);
        List<byte[]> files = entries.files();
        Map<String, String> whole = Entries.content(entries.engine);
        for (int first = 0; first < 14; first++) {
            for (int last = first; last < 14; last++) {
                int from = first;
                int to = last;
                Map<String, String> expected =
                        whole.entrySet().stream()
                                .filter(entry -> inRange(entry.getKey(), from, to))
                                .collect(Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue, (a, b) -> a, TreeMap::new));
                assertEquals(expected, Entries.restore(files, first, last));
            }
        }
        entries.engine.close();
    }

    private static boolean inRange(String name, int first, int last) {
        int keyGroup = Integer.parseInt(name.substring(0, name.indexOf('/')));
        return keyGroup >= first && keyGroup <= last;
    }

    /** An empty segment gives a file without blocks, which reads as empty. */
    @Test
    void emptyFile() throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        SegmentWriter writer = SegmentWriter.of(new RecordRuns(new long[0], new long[0]), null);
        assertTrue(writer.isEmpty());
        writer.write(5, out);
        try (SegmentReader reader = SegmentReader.open(FileSources.bytes("empty", out.toByteArray()))) {
            assertEquals(5, reader.segmentNumber());
            assertEquals(0, reader.blockCount());
        }
        assertEquals(List.of(), Entries.dump(FileSources.bytes("empty", out.toByteArray())));
    }

    /** Expired values become tombstones when an older version may exist, and nothing otherwise. */
    @Test
    void filteredValues() throws Exception {
        Entries entries = new Entries(3);
        entries.change(500);
        entries.files();
        entries.change(500);
        try (SnapshotView view = entries.engine.seal()) {
            int tombstones = 0;
            for (SegmentView segment : view.segments()) {
                ByteArrayOutputStream out = new ByteArrayOutputStream();
                SegmentWriter.of(RecordRuns.of(segment), record -> false).write(segment.number(), out);
                for (String entry : Entries.dump(FileSources.bytes("f", out.toByteArray()))) {
                    String[] fields = entry.split(" ");
                    assertTrue(fields[1].equals("6") || fields[2].equals("1"), entry);
                    tombstones += fields[2].equals("1") ? 1 : 0;
                }
            }
            assertTrue(tombstones > 0);
        }
        entries.engine.close();
    }

    /** Several blocks over all key groups. */
    private static byte[] sample(long seed) throws IOException {
        Entries entries = new Entries(seed);
        entries.change(600);
        byte[] file = entries.files().get(0);
        entries.engine.close();
        return file;
    }

    /** Cut at any length, a file is Corrupt. */
    @Test
    void truncatedFileIsCorrupt() throws Exception {
        byte[] file = sample(1);
        for (int length = 0; length < file.length; length += 1 + file.length / 997) {
            byte[] cut = Arrays.copyOf(file, length);
            SlimBaseException e =
                    assertThrows(SlimBaseException.class, () -> Entries.dump(FileSources.bytes("cut.slim", cut)));
            assertEquals(SlimBaseException.Kind.Corrupt, e.kind());
            assertTrue(e.getMessage().contains("cut.slim"), e.getMessage());
        }
    }

    /** The stated length is longer than the file: what a lost tail of a remote file looks like. */
    @Test
    void shorterThanSaidIsCorrupt() throws Exception {
        byte[] file = sample(2);
        FileSource lying =
                new FileSource() {
                    private final FileSource inner = FileSources.bytes("lost-tail.slim", Arrays.copyOf(file, file.length - 100));

                    @Override
                    public String name() {
                        return inner.name();
                    }

                    @Override
                    public long length() {
                        return file.length;
                    }

                    @Override
                    public void read(long position, byte[] to, int offset, int bytes) throws IOException {
                        inner.read(position, to, offset, bytes);
                    }

                    @Override
                    public void close() {}
                };
        SlimBaseException e = assertThrows(SlimBaseException.class, () -> Entries.dump(lying));
        assertEquals(SlimBaseException.Kind.Corrupt, e.kind());
    }

    /** A flipped block names file, block and both checksums. */
    @Test
    void checksumErrorNamesWhatItKnows() throws Exception {
        byte[] file = sample(3);
        file[200] ^= 4;
        SlimBaseException e = assertThrows(SlimBaseException.class, () -> Entries.dump(FileSources.bytes("x-1.slim", file)));
        assertEquals(SlimBaseException.Kind.Corrupt, e.kind());
        assertTrue(
                e.getMessage().matches("(?s)checksum does not fit, file=`x-1.slim`, block=0, stored_crc32c=[0-9a-f]{8}, computed_crc32c=[0-9a-f]{8}.*hint: .*"),
                e.getMessage());
    }

    /** A newer version is Unsupported, in the header and in the trailer. */
    @Test
    void newerVersionIsUnsupported() throws Exception {
        byte[] inHeader = sample(4);
        inHeader[8] = 4;
        byte[] inTrailer = sample(4);
        inTrailer[inTrailer.length - 16] = 9;
        for (byte[] file : List.of(inHeader, inTrailer)) {
            SlimBaseException e = assertThrows(SlimBaseException.class, () -> Entries.dump(FileSources.bytes("new", file)));
            assertEquals(SlimBaseException.Kind.Unsupported, e.kind());
        }
    }

    /** Whatever bytes change, the reader gives the same entries or an error of ours; never other data. */
    @Test
    void mutatedFilesNeverGiveWrongData() throws Exception {
        long seed = 20_261_125;
        Random random = new Random(seed);
        byte[] file = sample(5);
        List<String> expected = Entries.dump(FileSources.bytes("ok", file));
        int errors = 0;
        for (int round = 0; round < 4000; round++) {
            byte[] mutated = mutate(file, random);
            try {
                assertEquals(expected, Entries.dump(FileSources.bytes("m", mutated)), "seed=" + seed + " round=" + round);
                assertTrue(Arrays.equals(file, mutated), "seed=" + seed + " round=" + round);
            } catch (SlimBaseException e) {
                errors++;
            }
        }
        assertTrue(errors > 3900, "errors=" + errors);
    }

    /** With checksums made to fit, lies are found by their lengths or give entries, but nothing else is thrown. */
    @Test
    void mutatedFilesWithRightChecksumsThrowOnlyOurErrors() throws Exception {
        long seed = 77;
        Random random = new Random(seed);
        byte[] file = sample(6);
        int errors = 0;
        for (int round = 0; round < 4000; round++) {
            byte[] mutated = repair(mutate(file, random));
            try {
                Entries.dump(FileSources.bytes("m", mutated));
            } catch (SlimBaseException e) {
                assertFalse(e.kind() == SlimBaseException.Kind.Internal, "seed=" + seed + " round=" + round);
                errors++;
            }
        }
        assertTrue(errors > 1000, "errors=" + errors);
    }

    private static byte[] mutate(byte[] file, Random random) {
        byte[] mutated = file.clone();
        switch (random.nextInt(6)) {
            case 0:
                mutated[random.nextInt(file.length)] ^= (byte) (1 << random.nextInt(8));
                break;
            case 1:
                for (int i = 0; i < 8; i++) {
                    mutated[random.nextInt(file.length)] = (byte) random.nextInt();
                }
                break;
            case 2:
                return Arrays.copyOf(file, random.nextInt(file.length));
            case 3:
                int from = random.nextInt(file.length);
                int length = Math.min(random.nextInt(64), file.length - from);
                Arrays.fill(mutated, from, from + length, (byte) (random.nextBoolean() ? 0 : 0xFF));
                break;
            case 4:
                int tail = file.length - 1 - random.nextInt(Math.min(600, file.length - 1));
                mutated[tail] = (byte) random.nextInt();
                break;
            default:
                int a = random.nextInt(file.length - 64);
                int b = random.nextInt(file.length - 64);
                System.arraycopy(file, a, mutated, b, 64);
        }
        return mutated;
    }

    /** Makes the checksums of footer and blocks fit wherever they still can be found. */
    private static byte[] repair(byte[] file) {
        if (file.length < 48) {
            return file;
        }
        ByteBuffer buffer = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
        long footer = buffer.getLong(file.length - 32);
        int bytes = buffer.getInt(file.length - 24);
        if (footer >= 16 && bytes >= 4 && footer + bytes == file.length - 32) {
            buffer.putInt(file.length - 20, crc(file, (int) footer, bytes, 0, 0));
            int blocks = buffer.getInt((int) footer);
            for (int i = 0; i < Math.min(blocks, bytes / FileFormat.BLOCK_ROW_BYTES - 1); i++) {
                long at = buffer.getLong((int) footer + 4 + FileFormat.BLOCK_ROW_BYTES * i);
                if (at >= 16 && at + 16 < footer) {
                    int stored = buffer.getInt((int) at + 4);
                    if (stored > 0 && at + 16 + stored <= footer) {
                        buffer.putInt((int) at + 12, crc(file, (int) at, 12, (int) at + 16, stored));
                    }
                }
            }
        }
        return file;
    }

    private static int crc(byte[] file, int first, int firstBytes, int second, int secondBytes) {
        CRC32C crc = new CRC32C();
        crc.update(file, first, firstBytes);
        crc.update(file, second, secondBytes);
        return (int) crc.getValue();
    }

    /** Entries are in the order that the format page gives, each key once but for chains. */
    @Test
    void entriesAreOrdered() throws Exception {
        List<String> order = new ArrayList<>();
        try (SegmentReader reader = SegmentReader.open(FileSources.bytes("f", sample(8)))) {
            reader.forEach(
                    0,
                    ALL,
                    (keyGroup, identity, flags, key, keyLength, value, valueLength) -> {
                        long hash = io.headrace.slimbase.engine.KeyHash.hash(identity, key, keyLength);
                        order.add(String.format("%05d %04d %016x", keyGroup, identity, hash));
                    });
            assertEquals(order.size(), reader.entryCount());
        }
        assertEquals(order.stream().sorted().collect(Collectors.toList()), order);
    }
}
