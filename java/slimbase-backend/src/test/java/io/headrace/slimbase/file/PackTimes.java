package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.MemoryBudget;
import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.engine.SnapshotView;
import io.headrace.slimbase.engine.UnsafeAllocator;
import io.headrace.slimbase.nativelib.NativeLibrary;
import io.headrace.slimbase.nativelib.NativeSlim;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;

/** Prints how long a segment takes to pack in Java and natively, and to read. Not a test: run its main method. */
public final class PackTimes {
    private static final int RECORDS = 900_000;
    private static final int VALUE_BYTES = 48;

    private PackTimes() {}

    /** Seven rounds; the first ones warm the JVM. */
    public static void main(String[] arguments) throws Exception {
        if (!NativeLibrary.isAvailable()) {
            throw new IllegalStateException("no native library");
        }
        try (SlimEngine engine = new SlimEngine(new MemoryBudget(1L << 30), new UnsafeAllocator(), 0, 128, id -> "s")) {
            fill(engine);
            Path folder = Files.createTempDirectory("slim-pack");
            try (SnapshotView view = engine.seal()) {
                for (int round = 0; round < 7; round++) {
                    round(view.segments().get(0), folder.resolve("java-" + round), folder.resolve("native-" + round));
                }
            }
            org.apache.flink.util.FileUtils.deleteDirectory(folder.toFile());
        }
    }

    private static void fill(SlimEngine engine) {
        Random random = new Random(1);
        long scratch = Memory.allocate(128);
        for (int i = 0; i < RECORDS; i++) {
            Memory.putLong(scratch, i * 0x9E3779B97F4A7C15L);
            for (int at = 0; at < VALUE_BYTES; at += Long.BYTES) {
                Memory.putLong(scratch + 64 + at, random.nextLong() & 0xFFFFFF);
            }
            engine.put(i & 127, 0, scratch, Long.BYTES, scratch + 64, VALUE_BYTES);
        }
        Memory.free(scratch);
    }

    private static void round(SegmentView segment, Path java, Path rust) throws Exception {
        long chunks = Memory.allocate(16L * segment.chunkCount());
        for (int i = 0; i < segment.chunkCount(); i++) {
            Memory.putLong(chunks + 16L * i, segment.chunkAddress(i));
            Memory.putLong(chunks + 16L * i + 8, segment.chunkBytes(i));
        }
        long start = System.nanoTime();
        try (OutputStream out = Files.newOutputStream(java)) {
            SegmentWriter.of(RecordRuns.of(segment), null).write(segment.number(), out);
        }
        long packed = System.nanoTime();
        NativeSlim.pack(chunks, segment.chunkCount(), segment.number(), rust.toString().getBytes(StandardCharsets.UTF_8));
        long packedNatively = System.nanoTime();
        long[] entries = new long[1];
        try (SegmentReader reader = SegmentReader.open(FileSources.local(java))) {
            reader.forEach(0, 127, (keyGroup, identity, flags, key, keyLength, value, valueLength) -> entries[0]++);
        }
        long read = System.nanoTime();
        System.out.printf(
                "segment_bytes=%d java_ms=%d java_bytes=%d native_ms=%d native_bytes=%d read_ms=%d entries=%d%n",
                segment.usedBytes(),
                (packed - start) / 1_000_000,
                Files.size(java),
                (packedNatively - packed) / 1_000_000,
                Files.size(rust),
                (read - packedNatively) / 1_000_000,
                entries[0]);
        Memory.free(chunks);
    }
}
