package io.headrace.slimbase.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.engine.SlimBaseException;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CachedSourceTest {
    private static final int EXTENT = ExtentCache.EXTENT_BYTES;

    @TempDir Path directory;
    private final List<Long> pauses = new ArrayList<>();

    private static byte[] content(long seed, int length) {
        byte[] content = new byte[length];
        new Random(seed).nextBytes(content);
        return content;
    }

    private ExtentCache cache(int extents) throws IOException {
        return new ExtentCache(directory.resolve("remote.cache"), (long) extents * EXTENT);
    }

    private CachedSource over(FaultySource remote, ExtentCache cache) {
        return new CachedSource(remote.name(), remote.length(), () -> remote, cache, pauses::add);
    }

    private static byte[] read(FileSource source, int position, int bytes) throws IOException {
        byte[] read = new byte[bytes];
        source.read(position, read, 0, bytes);
        return read;
    }

    /** Random reads of two files through a cache that holds a part of them give their bytes; the cache's file stays within its bound. */
    @Test
    void randomReads() throws Exception {
        Random random = new Random(1);
        byte[][] contents = {content(2, 20 * EXTENT + 1234), content(3, 7 * EXTENT)};
        try (ExtentCache cache = cache(6)) {
            CachedSource[] sources = {over(new FaultySource("a", contents[0]), cache), over(new FaultySource("b", contents[1]), cache)};
            for (int i = 0; i < 2000; i++) {
                int which = random.nextInt(2);
                int length = contents[which].length;
                int position = random.nextInt(4) == 0 ? random.nextInt(length) : random.nextInt(3 * EXTENT);
                int bytes = Math.min(length - position, random.nextInt(random.nextInt(30) == 0 ? 3 * EXTENT : 9000));
                assertArrayEquals(Arrays.copyOfRange(contents[which], position, position + bytes), read(sources[which], position, bytes));
                assertTrue(cache.usedBytes() <= 6L * EXTENT);
            }
            assertTrue(Files.size(directory.resolve("remote.cache")) <= 6L * EXTENT);
            assertTrue(cache.hits() > cache.misses(), cache.hits() + " hits, " + cache.misses() + " misses");
            sources[0].close();
            sources[1].close();
            assertEquals(0, cache.usedBytes());
        }
        assertFalse(Files.exists(directory.resolve("remote.cache")));
    }

    /** Reads in order fetch two extents at once; what is there is not fetched again. */
    @Test
    void readsAhead() throws Exception {
        FaultySource remote = new FaultySource("a", content(4, 10 * EXTENT));
        try (ExtentCache cache = cache(20)) {
            CachedSource source = over(remote, cache);
            for (int position = 0; position < 10 * EXTENT; position += 8192) {
                read(source, position, 8192);
            }
            assertEquals(List.of(0L, 1L * EXTENT, 3L * EXTENT, 5L * EXTENT, 7L * EXTENT, 9L * EXTENT), remote.positions);
            read(source, 0, 10 * EXTENT);
            assertEquals(6, source.requests());
            assertEquals(10L * EXTENT, source.bytesFetched());
        }
    }

    /** Extents that are used stay while those that are not go. */
    @Test
    void keepsWhatIsUsed() throws Exception {
        FaultySource remote = new FaultySource("a", content(5, 100 * EXTENT));
        try (ExtentCache cache = cache(8)) {
            CachedSource source = over(remote, cache);
            for (int i = 0; i < 48; i++) {
                read(source, 3 * EXTENT, 10);
                read(source, (99 - 2 * i) * EXTENT, 10);
            }
            assertEquals(1, remote.positions.stream().filter(position -> position == 3L * EXTENT).count());
        }
    }

    /** A failure is tried again, after 0.1 to 6.4 s, on a stream opened anew; the fifth one is Unavailable with file and position; then it works again. */
    @Test
    void triesAgain() throws Exception {
        byte[] bytes = content(6, 3 * EXTENT);
        FaultySource remote = new FaultySource("far.slim", bytes);
        try (ExtentCache cache = cache(4)) {
            int[] opened = new int[1];
            CachedSource source =
                    new CachedSource(
                            "far.slim",
                            bytes.length,
                            () -> {
                                opened[0]++;
                                return remote;
                            },
                            cache,
                            pauses::add);
            remote.failures = 1;
            remote.cuts = 1;
            assertArrayEquals(Arrays.copyOf(bytes, 100), read(source, 0, 100));
            assertEquals(List.of(100_000_000L, 400_000_000L), pauses);
            assertEquals(3, opened[0]);
            assertTrue(remote.isClosed);
            remote.failures = 5;
            SlimBaseException e = assertThrows(SlimBaseException.class, () -> read(source, 2 * EXTENT + 5, 10));
            assertEquals(SlimBaseException.Kind.Unavailable, e.kind());
            assertTrue(e.getMessage().contains("file=`far.slim`, position=" + 2 * EXTENT), e.getMessage());
            assertTrue(e.getMessage().contains("connection lost"), e.getMessage());
            assertEquals(List.of(100_000_000L, 400_000_000L, 1_600_000_000L, 6_400_000_000L), pauses.subList(2, 6));
            assertArrayEquals(Arrays.copyOfRange(bytes, 2 * EXTENT, 2 * EXTENT + 10), read(source, 2 * EXTENT, 10));
        }
    }

    /** A file that is shorter than said ends so each time: a lookup calls it Corrupt. A missing one is not tried again. */
    @Test
    void shortOrMissing() throws Exception {
        byte[] file = RandomFile.plain(1, 3000).write();
        try (ExtentCache cache = cache(4)) {
            FaultySource remote = new FaultySource("short.slim", Arrays.copyOf(file, file.length - 50));
            CachedSource source = new CachedSource("short.slim", file.length, () -> remote, cache, pauses::add);
            SlimBaseException e = assertThrows(SlimBaseException.class, () -> LookupFile.open(source));
            assertEquals(SlimBaseException.Kind.Corrupt, e.kind());
            assertEquals(2, pauses.size());
            CachedSource missing =
                    new CachedSource(
                            "gone.slim",
                            100,
                            () -> {
                                throw new FileNotFoundException("gone.slim");
                            },
                            cache,
                            pauses::add);
            assertThrows(FileNotFoundException.class, () -> read(missing, 0, 10));
            assertThrows(EOFException.class, () -> read(missing, 95, 10));
            assertEquals(2, pauses.size());
        }
    }

    /** A cache whose file is cut off or damaged costs fetches, not answers: to lookups, to opening, to cursors. */
    @Test
    void localDiskFails() throws Exception {
        RandomFile model = RandomFile.plain(7, 30_000);
        byte[] file = model.write();
        byte[] damage = content(8, file.length);
        for (int bytesLeft : new int[] {100, file.length}) {
            FaultySource remote = new FaultySource("a", file);
            try (ExtentCache cache = cache(20)) {
                CachedSource source = over(remote, cache);
                read(source, 0, file.length);
                damage(damage, bytesLeft);
                try (LookupFile opened = LookupFile.open(source)) {
                    damage(damage, bytesLeft);
                    for (RandomFile.Key key : model.keys()) {
                        assertEquals(model.entries(key), LookupFileTest.find(opened, key.keyGroup, key.identity, key.bytes));
                    }
                    damage(damage, bytesLeft);
                    SegmentReader reader = SegmentReader.over(source, Footer.read(FileSources.bytes("a", file)));
                    EntryCursor cursor = new EntryCursor(reader, 0, FileFormat.KEY_GROUP_LIMIT);
                    int entries = 0;
                    while (cursor.next()) {
                        entries++;
                    }
                    assertEquals(model.entryCount(), entries);
                    cursor.close();
                }
                assertTrue(cache.localFailures() > 1, "failures=" + cache.localFailures());
            }
        }
    }

    private void damage(byte[] content, int bytesLeft) throws IOException {
        try (FileChannel channel = FileChannel.open(directory.resolve("remote.cache"), StandardOpenOption.WRITE)) {
            channel.write(java.nio.ByteBuffer.wrap(content), 0);
            channel.truncate(bytesLeft);
        }
    }

    /** Several threads read one file at once. */
    @Test
    void concurrentReaders() throws Exception {
        byte[] bytes = content(8, 30 * EXTENT);
        try (ExtentCache cache = cache(5)) {
            CachedSource source = over(new FaultySource("a", bytes), cache);
            ExecutorService threads = Executors.newFixedThreadPool(4);
            List<Future<?>> readers = new ArrayList<>();
            for (int thread = 0; thread < 4; thread++) {
                Random random = new Random(thread);
                readers.add(
                        threads.submit(
                                () -> {
                                    for (int i = 0; i < 500; i++) {
                                        int position = random.nextInt(bytes.length - 9000);
                                        assertArrayEquals(
                                                Arrays.copyOfRange(bytes, position, position + 9000), read(source, position, 9000));
                                    }
                                    return null;
                                }));
            }
            for (Future<?> reader : readers) {
                reader.get();
            }
            threads.shutdown();
        }
    }

    /** What will be needed is fetched on several connections at once, each of which here waits for the others; who reads it fetches nothing again. */
    @Test
    void fetchesAheadTogether() throws Exception {
        byte[] bytes = content(10, 9 * EXTENT);
        FaultySource remote = new FaultySource("a", bytes);
        CountDownLatch together = new CountDownLatch(3);
        try (ExtentCache cache = cache(20)) {
            CachedSource source =
                    new CachedSource(
                            "a",
                            bytes.length,
                            () -> {
                                together.countDown();
                                await(together);
                                return remote;
                            },
                            cache,
                            pauses::add);
            int[] wanted = {8 * EXTENT + 5, 4 * EXTENT, EXTENT + 77};
            for (int position : wanted) {
                source.willNeed(position, 10);
                source.willNeed(position, 10);
            }
            await(together);
            for (int position : wanted) {
                assertArrayEquals(Arrays.copyOfRange(bytes, position, position + 10), read(source, position, 10));
            }
            assertEquals(0, source.requests());
            assertEquals(3, remote.positions.size());
            assertEquals(3L * EXTENT, source.bytesFetched());
        }
    }

    /** What could not be fetched ahead is fetched when it is read, with tries again. */
    @Test
    void fetchAheadFails() throws Exception {
        byte[] bytes = content(11, 2 * EXTENT);
        FaultySource remote = new FaultySource("a", bytes);
        try (ExtentCache cache = cache(20)) {
            CachedSource source = over(remote, cache);
            remote.failures = 2;
            source.willNeed(EXTENT, 10);
            assertArrayEquals(Arrays.copyOfRange(bytes, EXTENT, EXTENT + 10), read(source, EXTENT, 10));
            assertEquals(3, remote.positions.size());
            source.close();
            source.willNeed(0, 10);
        }
    }

    private static void await(CountDownLatch latch) throws IOException {
        try {
            assertTrue(latch.await(30, TimeUnit.SECONDS), "fetches wait for each other");
        } catch (InterruptedException e) {
            throw new IOException(e);
        }
    }

    /** A lookup through the cache, whose file's blocks are fetched as they are needed, finds what the file has. */
    @Test
    void lookups() throws Exception {
        RandomFile model = RandomFile.plain(9, 60_000);
        byte[] file = model.write();
        FaultySource remote = new FaultySource("remote.slim", file);
        try (ExtentCache cache = cache(10);
                LookupFile opened = LookupFile.open(over(remote, cache))) {
            assertTrue(remote.positions.size() <= 2, "requests to open: " + remote.positions);
            for (RandomFile.Key key : model.keys().subList(20_000, 20_500)) {
                assertEquals(model.entries(key), LookupFileTest.find(opened, key.keyGroup, key.identity, key.bytes));
            }
            assertTrue(remote.positions.size() <= 4, "requests: " + remote.positions);
        }
    }
}
