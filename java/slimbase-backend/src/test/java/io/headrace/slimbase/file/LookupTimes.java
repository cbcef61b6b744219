package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.KeyHash;
import io.headrace.slimbase.engine.Memory;
import java.io.BufferedOutputStream;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;

/**
 * Prints what a lookup in a packed file costs when its blocks are in the page cache: CPU and wall time of a hit, of a key that the filter excludes, of a
 * hint. Values that do not compress, and values that do. Not a test: run its main method with a folder.
 */
public final class LookupTimes {
    private static final int RECORDS = 600_000;
    private static final int VALUE_BYTES = 100;
    private static final int LOOKUPS = 300_000;
    private static final int ROUNDS = 5;
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

    /** Key group of each record, in the file's order. */
    private static final int[] GROUPS = new int[RECORDS];

    private static long found;

    private LookupTimes() {}

    /** Five rounds of each; the first ones warm the JVM. */
    public static void main(String[] arguments) throws Exception {
        Path folder = Files.createTempDirectory(Path.of(arguments[0]), "slim-lookup");
        for (boolean compressible : new boolean[] {false, true}) {
            Path path = folder.resolve(compressible + ".slim");
            long[] keys = write(path, compressible);
            try (LookupFile file = LookupFile.open(FileSources.local(path))) {
                System.out.printf(
                        "compressible=%b bytes=%d bytes_per_record=%.1f memory_bytes_per_record=%.2f%n",
                        compressible, file.length(), (double) file.length() / RECORDS, (double) file.memoryBytes() / RECORDS);
                for (int round = 0; round < ROUNDS; round++) {
                    measure(file, keys, round);
                }
            }
        }
        org.apache.flink.util.FileUtils.deleteDirectory(folder.toFile());
        System.out.println("found=" + found);
    }

    private static long[] write(Path path, boolean compressible) throws Exception {
        Random random = new Random(1);
        RandomFile.Key[] sorted = new RandomFile.Key[RECORDS];
        for (int i = 0; i < RECORDS; i++) {
            byte[] key = new byte[8];
            random.nextBytes(key);
            sorted[i] = new RandomFile.Key(i & 63, 0, key);
        }
        java.util.Arrays.sort(sorted);
        long[] keys = new long[RECORDS];
        long scratch = Memory.allocate(256);
        try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(path), 1 << 20)) {
            FileBuilder builder = new FileBuilder(out, 1, RECORDS);
            for (int i = 0; i < RECORDS; i++) {
                Memory.copyFromArray(sorted[i].bytes, 0, 8, scratch);
                for (int at = 0; at < VALUE_BYTES; at += 4) {
                    Memory.putInt(scratch + 64 + at, compressible ? random.nextInt(256) : random.nextInt());
                }
                builder.add(sorted[i].keyGroup, 0, 0, scratch, 8, scratch + 64, VALUE_BYTES);
                keys[i] = Memory.getLong(scratch);
                GROUPS[i] = sorted[i].keyGroup;
            }
            builder.finish();
        }
        Memory.free(scratch);
        return keys;
    }

    private interface Work {
        void once(int i) throws Exception;
    }

    private static void measure(LookupFile file, long[] keys, int round) throws Exception {
        Random random = new Random(round);
        int[] order = random.ints(LOOKUPS, 0, RECORDS).toArray();
        long scratch = Memory.allocate(8);
        EntryVisitor visitor = (keyGroup, identity, flags, key, keyLength, value, valueLength) -> found += Memory.getByte(value);
        double[] hit =
                time(
                        i -> {
                            Memory.putLong(scratch, keys[order[i]]);
                            long hash = KeyHash.hash(0, scratch, 8);
                            if (!file.mayContain(hash) || file.find(GROUPS[order[i]], 0, hash, scratch, 8, visitor) != 1) {
                                throw new IllegalStateException("not found");
                            }
                        });
        long[] wrong = new long[1];
        double[] excluded =
                time(
                        i -> {
                            Memory.putLong(scratch, i * 0x9E3779B97F4A7C15L + round);
                            wrong[0] += file.mayContain(KeyHash.hash(0, scratch, 8)) ? 1 : 0;
                        });
        double[] hint =
                time(
                        i -> {
                            Memory.putLong(scratch, keys[order[i]]);
                            file.willNeed(GROUPS[order[i]], 0, KeyHash.hash(0, scratch, 8));
                        });
        System.out.printf(
                "round=%d hit_cpu_us=%.2f hit_us=%.2f excluded_us=%.3f filter_errs=%.4f hint_us=%.2f%n",
                round, hit[0], hit[1], excluded[1], (double) wrong[0] / LOOKUPS, hint[1]);
        Memory.free(scratch);
    }

    /** CPU and wall time of one call, in µs. */
    private static double[] time(Work work) throws Exception {
        long cpu = THREADS.getCurrentThreadCpuTime();
        long start = System.nanoTime();
        for (int i = 0; i < LOOKUPS; i++) {
            work.once(i);
        }
        return new double[] {
            (THREADS.getCurrentThreadCpuTime() - cpu) / 1e3 / LOOKUPS, (System.nanoTime() - start) / 1e3 / LOOKUPS
        };
    }
}
