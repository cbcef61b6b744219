package io.headrace.slimbase.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SteadyOutputTest {
    private static final int BUFFER_BYTES = 1 << 20;

    @TempDir Path folder;

    /** Whatever the sizes of the writes: after each piece all that was written is there when the sync is called, not in a buffer, and nothing is changed on the way. */
    @Test
    void syncsWhatWasWritten() throws IOException {
        ByteArrayOutputStream there = new ByteArrayOutputStream();
        List<Integer> synced = new ArrayList<>();
        byte[] bytes = new byte[4 * SteadyOutput.PIECE_BYTES - 1];
        new Random(1).nextBytes(bytes);
        int written = 0;
        try (SteadyOutput out = new SteadyOutput(new BufferedOutputStream(there, BUFFER_BYTES), () -> synced.add(there.size()))) {
            for (int step = 1; written < bytes.length; step = step % 300_007 + 1_009) {
                out.write(bytes[written++]);
                int length = Math.min(step, bytes.length - written);
                out.write(bytes, written, length);
                written += length;
                int due = synced.isEmpty() ? 0 : synced.get(synced.size() - 1);
                assertTrue(written - due < SteadyOutput.PIECE_BYTES, "piece is due: " + written + " after " + synced);
            }
        }
        assertArrayEquals(bytes, there.toByteArray());
        assertEquals(3, synced.size());
    }

    /** A full disk may tell so only then. */
    @Test
    void failureOfSyncIsTold() {
        SteadyOutput out =
                new SteadyOutput(
                        OutputStream.nullOutputStream(),
                        () -> {
                            throw new IOException("No space left on device");
                        });
        byte[] piece = new byte[SteadyOutput.PIECE_BYTES];
        IOException told = assertThrows(IOException.class, () -> out.write(piece, 0, piece.length));
        assertEquals("No space left on device", told.getMessage());
    }

    /** A failure in one stream does not keep the disk from others. */
    @Test
    void streamsTakeTurns() throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger most = new AtomicInteger();
        byte[] piece = new byte[SteadyOutput.PIECE_BYTES];
        ExecutorService threads = Executors.newFixedThreadPool(4);
        try {
            List<Callable<Void>> writers = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                boolean fails = i == 0;
                SteadyOutput.Sync sync =
                        () -> {
                            most.accumulateAndGet(inside.incrementAndGet(), Math::max);
                            LockSupport.parkNanos(1_000_000);
                            inside.decrementAndGet();
                            if (fails) {
                                throw new IOException("disk is gone");
                            }
                        };
                writers.add(
                        () -> {
                            SteadyOutput out = new SteadyOutput(OutputStream.nullOutputStream(), sync);
                            for (int each = 0; each < 20; each++) {
                                try {
                                    out.write(piece, 0, piece.length);
                                } catch (IOException e) {
                                    assertTrue(fails);
                                }
                            }
                            return null;
                        });
            }
            for (Future<Void> writer : threads.invokeAll(writers)) {
                writer.get();
            }
        } finally {
            threads.shutdownNow();
        }
        assertEquals(1, most.get());
    }

    @Test
    void filesAreReplaced() throws IOException {
        Path file = folder.resolve("file");
        Files.write(file, new byte[100]);
        byte[] content = new byte[SteadyOutput.PIECE_BYTES + 1];
        new Random(2).nextBytes(content);
        try (OutputStream out = SteadyOutput.to(file)) {
            out.write(content);
        }
        assertArrayEquals(content, Files.readAllBytes(file));
    }

    @Test
    void largeAndSmallFilesAreDeleted() throws IOException {
        Path small = Files.write(folder.resolve("small"), new byte[10]);
        Path large = Files.write(folder.resolve("large"), new byte[(int) SteadyDeletes.LARGE_BYTES]);
        Path other = Files.write(folder.resolve("other"), new byte[10]);
        for (Path file : List.of(small, large, folder.resolve("none"))) {
            SteadyDeletes.delete(file);
            assertFalse(Files.exists(file));
        }
        assertTrue(Files.exists(other));
        Path full = Files.createDirectories(folder.resolve("directory"));
        Files.write(full.resolve("file"), new byte[1]);
        assertThrows(IOException.class, () -> SteadyDeletes.delete(full));
    }

    /** A thread that is told to end deletes what it has begun with, and keeps being told. */
    @Test
    void interruptedDelete() throws IOException {
        Path large = Files.write(folder.resolve("large"), new byte[(int) SteadyDeletes.LARGE_BYTES]);
        Thread.currentThread().interrupt();
        SteadyDeletes.delete(large);
        assertTrue(Thread.interrupted());
        assertFalse(Files.exists(large));
    }
}
