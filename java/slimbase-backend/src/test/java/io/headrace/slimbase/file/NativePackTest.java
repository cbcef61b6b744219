package io.headrace.slimbase.file;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.engine.SnapshotView;
import io.headrace.slimbase.nativelib.NativeLibrary;
import io.headrace.slimbase.nativelib.NativeSlim;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NativePackTest {
    @TempDir Path directory;

    @BeforeEach
    void needsTheLibrary() {
        assumeTrue(NativeLibrary.isAvailable(), "no native library in this build");
    }

    private static byte[] utf8(Path path) {
        return path.toString().getBytes(StandardCharsets.UTF_8);
    }

    /** Java and Rust pack the same records into the same entries, and each reads what the other wrote. */
    @Test
    void sameEntriesBothWays() throws Exception {
        for (int seed = 0; seed < 5; seed++) {
            Entries entries = new Entries(seed);
            for (int epoch = 0; epoch < 4; epoch++) {
                entries.change(5000);
                try (SnapshotView view = entries.engine.seal()) {
                    for (SegmentView segment : view.segments()) {
                        compare(segment, seed + "-" + epoch + "-" + segment.number());
                    }
                }
            }
            entries.engine.close();
        }
    }

    private void compare(SegmentView segment, String name) throws Exception {
        byte[] ours = Entries.pack(segment);
        Path java = Files.write(directory.resolve(name + "-java.slim"), ours);
        Path rust = directory.resolve(name + "-rust.slim");
        long chunks = Memory.allocate(16L * segment.chunkCount());
        for (int i = 0; i < segment.chunkCount(); i++) {
            Memory.putLong(chunks + 16L * i, segment.chunkAddress(i));
            Memory.putLong(chunks + 16L * i + 8, segment.chunkBytes(i));
        }
        long bytes = NativeSlim.pack(chunks, segment.chunkCount(), segment.number(), utf8(rust));
        Memory.free(chunks);
        assertEquals(Files.size(rust), bytes);
        assertEquals(Entries.dump(FileSources.local(java)), Entries.dump(FileSources.local(rust)), name);
        try (SegmentReader reader = SegmentReader.open(FileSources.local(rust))) {
            assertEquals(segment.number(), reader.segmentNumber());
            assertEquals(reader.entryCount(), NativeSlim.verifyFile(utf8(java)));
            assertEquals(reader.entryCount(), NativeSlim.verifyFile(utf8(rust)));
        }
    }

    /** Rust finds a flipped bit in a file of ours, and says so in our words. */
    @Test
    void rustFindsCorruption() throws Exception {
        Entries entries = new Entries(1);
        entries.change(2000);
        byte[] file = entries.files().get(0);
        file[300] ^= 1;
        Path path = Files.write(directory.resolve("bad.slim"), file);
        SlimBaseException e = assertThrows(SlimBaseException.class, () -> NativeSlim.verifyFile(utf8(path)));
        assertEquals(SlimBaseException.Kind.Corrupt, e.kind());
        assertTrue(e.getMessage().contains("bad.slim"), e.getMessage());
        entries.engine.close();
    }

    /** A panic arrives as an exception. */
    @Test
    void panicIsAnException() {
        SlimBaseException e = assertThrows(SlimBaseException.class, NativeSlim::panicForTest);
        assertEquals(SlimBaseException.Kind.Internal, e.kind());
    }
}
