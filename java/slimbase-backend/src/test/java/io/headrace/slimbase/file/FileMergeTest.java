package io.headrace.slimbase.file;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.engine.SlimBaseException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CancellationException;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileMergeTest {
    private static final int ALL = FileFormat.KEY_GROUP_LIMIT;

    @TempDir Path directory;
    private long segmentNumber = 100;

    private FileMerge merge() {
        return new FileMerge(directory, () -> segmentNumber++);
    }

    private static List<EntryCursor> cursors(List<byte[]> files) throws IOException {
        List<EntryCursor> cursors = new ArrayList<>();
        for (int i = 0; i < files.size(); i++) {
            cursors.add(new EntryCursor(SegmentReader.open(FileSources.bytes("in-" + i, files.get(i))), 0, ALL));
        }
        return cursors;
    }

    private List<Path> left() throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.sorted().collect(Collectors.toList());
        }
    }

    private static List<byte[]> write(List<RandomFile> layers) throws IOException {
        List<byte[]> files = new ArrayList<>();
        for (RandomFile layer : layers) {
            files.add(layer.write());
        }
        return files;
    }

    private static List<byte[]> read(MergeResult result) throws IOException {
        List<byte[]> files = new ArrayList<>();
        for (MergeResult.Output output : result.outputs()) {
            byte[] content = Files.readAllBytes(output.path());
            assertEquals(content.length, output.bytes());
            try (LookupFile file = LookupFile.open(FileSources.bytes("out", content))) {
                assertEquals(output.segmentNumber(), file.segmentNumber());
                assertEquals(output.entries(), file.entryCount());
            }
            files.add(content);
        }
        return files;
    }

    /** Files of one run follow each other: none is read before the stream comes to it, and each gives its buffers back when it has passed. */
    @Test
    void oneFileOfARunAtATime() throws Exception {
        RandomFile model = RandomFile.plain(3, 20_000);
        byte[] file = model.write();
        int[] groups = model.keys().stream().mapToInt(key -> key.keyGroup).distinct().sorted().toArray();
        int half = groups[groups.length / 2];
        List<FaultySource> sources = List.of(new FaultySource("in-0", file), new FaultySource("in-1", file));
        // The newer one has the first key groups.
        List<EntryCursor> cursors =
                List.of(
                        new EntryCursor(SegmentReader.open(sources.get(0)), half, ALL),
                        new EntryCursor(SegmentReader.open(sources.get(1)), 0, half - 1));
        long entries = 0;
        try (MergedEntries merged = new MergedEntries(cursors)) {
            while (merged.next()) {
                entries++;
                boolean isInFirst = merged.keyGroup() < half;
                assertEquals(isInFirst, cursors.get(0).bytesRead() == 0);
                assertEquals(!isInFirst, sources.get(1).isClosed);
            }
        }
        assertEquals(model.entryCount(), entries);
        assertTrue(sources.get(0).isClosed);
    }

    /** All files merged, and nothing older exists: what is left is the map that they give when applied in order, without tombstones and pieces. */
    @Test
    void mergeOfEverything() throws Exception {
        for (int seed = 0; seed < 25; seed++) {
            MergeModel model = new MergeModel(seed, 1 + seed % 7);
            List<byte[]> files = write(model.layers);
            MergeResult result = merge().oldest(true).sizes(seed % 3 == 0 ? 4000 : FileMerge.TARGET_BYTES, FileMerge.JOIN_LIMIT).merge(cursors(files));
            List<byte[]> merged = read(result);
            assertEquals(MergeModel.apply(files), MergeModel.apply(merged), "seed=" + seed);
            long entries = 0;
            for (MergeResult.Output output : result.outputs()) {
                assertEquals(output.entries(), output.liveEntries());
                entries += output.entries();
            }
            assertEquals(MergeModel.apply(files).size(), entries, "seed=" + seed);
            assertTrue(seed % 3 != 0 || merged.size() != 1 || merged.get(0).length < 20_000, "one file of " + merged.get(0).length);
            for (Path path : left()) {
                Files.delete(path);
            }
        }
    }

    /** Some files in the middle merged: with older and newer files around them, the map is the same. Also when lists are too long to be joined. */
    @Test
    void mergeOfSome() throws Exception {
        for (int seed = 100; seed < 160; seed++) {
            Random random = new Random(seed);
            List<byte[]> files = write(new MergeModel(seed, 6).layers);
            int from = random.nextInt(5);
            int to = from + 1 + random.nextInt(6 - from);
            int joinLimit = random.nextInt(3) == 0 ? 60 : FileMerge.JOIN_LIMIT;
            MergeResult result = merge().oldest(from == 0).sizes(5000, joinLimit).merge(cursors(files.subList(from, to)));
            List<byte[]> after = new ArrayList<>(files.subList(0, from));
            after.addAll(read(result));
            after.addAll(files.subList(to, 6));
            assertEquals(MergeModel.apply(files), MergeModel.apply(after), "seed=" + seed);
            long read = files.subList(from, to).stream().mapToLong(file -> file.length).sum();
            assertTrue(result.bytesRead() > 0 && result.bytesRead() < read, result.bytesRead() + " of " + read);
        }
    }

    /**
     * Newer files, any of them, witness what is dead in those that are merged, and stay: the map is the same, and of a key that a witness has whole or deleted
     * nothing is left in what was merged.
     */
    @Test
    void mergeBesideWitnesses() throws Exception {
        int freed = 0;
        for (int seed = 200; seed < 260; seed++) {
            Random random = new Random(seed);
            List<byte[]> files = write(new MergeModel(seed, 7).layers);
            int from = random.nextInt(4);
            int to = from + 1 + random.nextInt(3);
            List<byte[]> witnesses = new ArrayList<>();
            for (byte[] newer : files.subList(to, 7)) {
                if (random.nextBoolean()) {
                    witnesses.add(newer);
                }
            }
            MergeResult result =
                    merge().oldest(from == 0).sizes(5000, FileMerge.JOIN_LIMIT).merge(cursors(files.subList(from, to)), cursors(witnesses));
            List<byte[]> merged = read(result);
            List<byte[]> after = new ArrayList<>(files.subList(0, from));
            after.addAll(merged);
            after.addAll(files.subList(to, 7));
            assertEquals(MergeModel.apply(files), MergeModel.apply(after), "seed=" + seed);
            Set<RandomFile.Key> dead = new TreeSet<>();
            for (byte[] witness : witnesses) {
                dead.addAll(keysWithBase(witness));
            }
            for (byte[] file : merged) {
                for (RandomFile.Key key : RandomFile.keysOf(FileSources.bytes("merged", file))) {
                    assertFalse(dead.contains(key), "seed=" + seed + " has a dead key");
                }
            }
            freed += dead.size();
        }
        assertTrue(freed > 1_000, "witnesses have " + freed + " keys");
    }

    /** Keys of which the file has a whole value or a tombstone: what is older is dead. */
    private static Set<RandomFile.Key> keysWithBase(byte[] file) throws IOException {
        Set<RandomFile.Key> keys = new TreeSet<>();
        try (EntryCursor entries = new EntryCursor(SegmentReader.open(FileSources.bytes("witness", file)), 0, ALL)) {
            while (entries.next()) {
                if ((entries.flags() & FileFormat.ENTRY_CHAINED) == 0) {
                    keys.add(new RandomFile.Key(entries.keyGroup(), entries.identity(), Entries.bytes(entries.keyAddress(), entries.keyLength())));
                }
            }
        }
        return keys;
    }

    /** Key groups are not split over files, and cursors of a range give just that range. */
    @Test
    void cutAtKeyGroups() throws Exception {
        List<byte[]> files = write(new MergeModel(3, 4).layers);
        List<EntryCursor> cursors = new ArrayList<>();
        for (byte[] file : files) {
            cursors.add(new EntryCursor(SegmentReader.open(FileSources.bytes("f", file)), 10, 60));
        }
        MergeResult result = merge().oldest(true).sizes(1, FileMerge.JOIN_LIMIT).merge(cursors);
        assertTrue(result.outputs().size() > 2);
        int before = -1;
        for (MergeResult.Output output : result.outputs()) {
            try (LookupFile file = LookupFile.open(FileSources.local(output.path()))) {
                assertTrue(file.firstKeyGroup() > before && file.lastKeyGroup() <= 60 && file.firstKeyGroup() >= 10);
                before = file.lastKeyGroup();
            }
        }
    }

    /** What the filter drops is a tombstone while something older may exist, else nothing; lists with pieces are not asked for, and lose nothing. */
    @Test
    void expired() throws Exception {
        ValueFilter filter =
                new ValueFilter() {
                    @Override
                    public boolean keep(long record) {
                        throw new IllegalStateException("there are no records");
                    }

                    @Override
                    public boolean keepEntry(int identity, long key, int keyLength, long value, int valueLength) {
                        return identity == MergeModel.LIST;
                    }
                };
        for (boolean oldest : new boolean[] {true, false}) {
            List<byte[]> files = write(new MergeModel(8, 5).layers);
            Map<RandomFile.Key, String> expected = MergeModel.apply(files);
            long values = expected.keySet().stream().filter(key -> key.identity != MergeModel.LIST).count();
            MergeResult result = merge().oldest(oldest).filter(filter).merge(cursors(files));
            assertEquals(values, result.expired());
            Map<RandomFile.Key, String> merged = MergeModel.apply(read(result));
            expected.keySet().removeIf(key -> key.identity != MergeModel.LIST);
            assertEquals(expected, merged);
            long tombstones = result.outputs().stream().mapToLong(output -> output.entries() - output.liveEntries()).sum();
            assertTrue(oldest ? tombstones == 0 : tombstones >= values, "tombstones=" + tombstones);
        }
    }

    /** Nothing left gives no file. */
    @Test
    void nothingLeft() throws Exception {
        RandomFile removed = RandomFile.plain(1, 0);
        removed.content.put(new RandomFile.Key(1, 0, new byte[] {1}), List.of(new RandomFile.Part(1, new byte[0])));
        assertEquals(List.of(), merge().oldest(true).merge(cursors(List.of(removed.write()))).outputs());
        assertEquals(List.of(), left());
        assertEquals(1, merge().oldest(false).merge(cursors(List.of(removed.write()))).outputs().size());
    }

    /** A flipped bit in any input is Corrupt, and no file is left. */
    @Test
    void damagedInput() throws Exception {
        List<byte[]> files = write(new MergeModel(5, 3).layers);
        Random random = new Random(5);
        for (int round = 0; round < 60; round++) {
            List<byte[]> damaged = new ArrayList<>(files);
            byte[] file = files.get(round % 3).clone();
            int blocksEnd = (int) Trailer.read(FileSources.bytes("f", file)).blocksEnd();
            file[16 + random.nextInt(blocksEnd - 16)] ^= (byte) (1 << random.nextInt(8));
            damaged.set(round % 3, file);
            List<EntryCursor> cursors = cursors(damaged);
            SlimBaseException e = assertThrows(SlimBaseException.class, () -> merge().sizes(2000, 1 << 20).merge(cursors));
            assertEquals(SlimBaseException.Kind.Corrupt, e.kind());
            assertTrue(e.getMessage().contains("in-" + round % 3), e.getMessage());
            assertEquals(List.of(), left());
        }
    }

    /** When a file cannot be written, the error names it, and no other new file is left. */
    @Test
    void unwritable() throws Exception {
        List<byte[]> files = write(new MergeModel(6, 3).layers);
        Path inTheWay = Files.write(directory.resolve("102.slim.tmp"), new byte[] {1});
        List<EntryCursor> cursors = cursors(files);
        SlimBaseException e = assertThrows(SlimBaseException.class, () -> merge().sizes(1, 1 << 20).merge(cursors));
        assertEquals(SlimBaseException.Kind.Unavailable, e.kind());
        assertTrue(e.getMessage().contains("102.slim"), e.getMessage());
        assertEquals(List.of(inTheWay), left());
        Files.delete(inTheWay);
        Files.createDirectories(directory.resolve("201.slim").resolve("in-the-way"));
        segmentNumber = 200;
        List<EntryCursor> again = cursors(files);
        SlimBaseException renamed = assertThrows(SlimBaseException.class, () -> merge().sizes(1, 1 << 20).merge(again));
        assertEquals(SlimBaseException.Kind.Unavailable, renamed.kind());
        assertTrue(left().stream().noneMatch(path -> Files.isRegularFile(path)), left().toString());
    }

    /** An input that cannot be read is Unavailable. */
    @Test
    void unreadable() throws Exception {
        byte[] file = new MergeModel(7, 1).layers.get(0).write();
        FileSource failing = new FaultySource("far.slim", file);
        EntryCursor cursor = new EntryCursor(SegmentReader.open(failing), 0, ALL);
        ((FaultySource) failing).failures = 1;
        SlimBaseException e = assertThrows(SlimBaseException.class, () -> merge().merge(List.of(cursor)));
        assertEquals(SlimBaseException.Kind.Unavailable, e.kind());
        assertTrue(e.getMessage().contains("far.slim"), e.getMessage());
        assertEquals(List.of(), left());
    }

    /** A merge that is cancelled leaves nothing, nor does one whose thread is interrupted while it waits. */
    @Test
    void cancelled() throws Exception {
        List<byte[]> files = write(new MergeModel(9, 4).layers);
        int[] asked = new int[1];
        List<EntryCursor> cursors = cursors(files);
        assertThrows(
                CancellationException.class, () -> merge().sizes(1, 1 << 20).cancelledWhen(() -> asked[0]++ == 6).merge(cursors));
        assertEquals(List.of(), left());
        RateLimiter interrupted =
                new RateLimiter(
                        1,
                        () -> 0,
                        nanoseconds -> {
                            throw new InterruptedException();
                        });
        List<EntryCursor> others = cursors(files);
        assertThrows(CancellationException.class, () -> merge().limiter(interrupted).merge(others));
        assertTrue(Thread.interrupted());
        assertEquals(List.of(), left());
    }

    /** Reading and writing together keep to the rate, whatever the pieces. */
    @Test
    void limited() throws Exception {
        List<byte[]> files = write(new MergeModel(10, 5).layers);
        long[] now = new long[1];
        RateLimiter limiter = new RateLimiter(1_000_000, () -> now[0], nanoseconds -> now[0] += nanoseconds);
        MergeResult result = merge().limiter(limiter).merge(cursors(files));
        limiter.acquire(0);
        long bytes = result.bytesRead() + result.outputs().stream().mapToLong(MergeResult.Output::bytes).sum();
        assertEquals(bytes * 1000.0, now[0], 1000);
    }
}
