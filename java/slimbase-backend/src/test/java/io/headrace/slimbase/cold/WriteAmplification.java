package io.headrace.slimbase.cold;

import io.headrace.slimbase.engine.KeyGroupSpan;
import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.MemoryBudget;
import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.engine.SnapshotView;
import io.headrace.slimbase.engine.TierStatistics;
import io.headrace.slimbase.engine.UnsafeAllocator;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;

/**
 * Prints what the engine writes to files for each byte of change, what it would upload, and how much its files take for each byte that is alive, for state of
 * a multiple of its memory. Counts, not times: they do not depend on the machine but for what its background threads have done by then. Not a test: run its
 * main method with a folder, the budget in MiB, and the names of workloads.
 */
public final class WriteAmplification {
    private static final int KEY_GROUPS = 64;
    private static final int VALUE_BYTES = 100;
    /** As the log counts it. */
    private static final long RECORD_BYTES = 8 + 8 + VALUE_BYTES + 4;

    private static final int RATIO = 3;
    private static final double THETA = 0.99;

    private final Path folder;
    private final long budgetBytes;
    private final Random random = new Random(20_261_126);
    private final long scratch = Memory.allocate(256);
    private final Set<Long> uploaded = new HashSet<>();
    private SlimEngine engine;
    private long uploadedBytes;
    private long changes;

    private WriteAmplification(Path folder, long budgetBytes) {
        this.folder = folder;
        this.budgetBytes = budgetBytes;
    }

    /** Each workload in an engine of its own. */
    public static void main(String[] arguments) throws Exception {
        long budget = Long.parseLong(arguments[1]) << 20;
        for (int i = 2; i < arguments.length; i++) {
            Path folder = Files.createTempDirectory(Path.of(arguments[0]), "slim-write");
            new WriteAmplification(folder, budget).run(arguments[i]);
            org.apache.flink.util.FileUtils.deleteDirectory(folder.toFile());
        }
    }

    private void run(String workload) {
        LocalColdStore store = new LocalColdStore(folder, new NothingExpires(), 0);
        engine = new SlimEngine(new MemoryBudget(budgetBytes), new UnsafeAllocator(), new KeyGroupSpan(0, KEY_GROUPS), id -> "s", store);
        long keys = RATIO * budgetBytes / RECORD_BYTES;
        long operations = 8 * keys;
        boolean comesAndGoes = workload.startsWith("queue");
        long from = System.nanoTime();
        for (long key = 0; key < keys; key++) {
            put(key);
        }
        awaitMerges();
        TierStatistics tiers = engine.tierStatistics();
        print(workload + " load", tiers, 0, 0, 0, keys, from);
        long packed = tiers.packedBytes();
        long merged = tiers.mergedBytes();
        long appended = tiers.appendedBytes();
        uploadedBytes = 0;
        changes = 0;
        long checkpointEvery = workload.endsWith("-cp") ? operations / 10 : Long.MAX_VALUE;
        Zipf zipf = new Zipf(keys);
        long widest = 0;
        from = System.nanoTime();
        for (long i = 0; i < operations; i++) {
            if (comesAndGoes) {
                engine.remove(groupOf(i), 0, key(i), Long.BYTES);
                put(keys + i);
            } else if (workload.startsWith("zipf-rmw")) {
                long key = zipf.next();
                engine.find(groupOf(key), 0, key(key), Long.BYTES);
                fill();
                engine.putFound(scratch + 8, VALUE_BYTES, scratch, Long.BYTES);
                changes++;
            } else if (workload.startsWith("zipf-put")) {
                put(zipf.next());
            } else {
                put((long) (random.nextDouble() * keys));
            }
            if (i % checkpointEvery == checkpointEvery - 1) {
                checkpoint();
            }
            if (i % 4096 == 0) {
                widest = Math.max(widest, tiers.fileBytes());
            }
        }
        print(workload, tiers, packed, merged, appended, keys, from);
        awaitMerges();
        print(workload + " settled", tiers, packed, merged, appended, keys, from);
        System.out.printf("  widest files_per_live_byte=%.2f%n", (double) widest / (keys * RECORD_BYTES));
        engine.close();
    }

    private void print(String name, TierStatistics tiers, long packed, long merged, long appended, long keys, long from) {
        double changed = changes * RECORD_BYTES;
        System.out.printf(
                "%-22s changed_mb=%.0f appended=%.2f packed=%.2f merged=%.2f uploaded=%.2f files_per_live_byte=%.2f dead=%.2f runs=%d promotions=%d miss=%.2f s=%.1f%n",
                name,
                changed / 1e6,
                (tiers.appendedBytes() - appended) / changed,
                (tiers.packedBytes() - packed) / changed,
                (tiers.mergedBytes() - merged) / changed,
                uploadedBytes / changed,
                (double) tiers.fileBytes() / (keys * RECORD_BYTES),
                (double) tiers.deadFileBytes() / (keys * RECORD_BYTES),
                tiers.runCount(),
                tiers.promotions(),
                (double) tiers.fileLookups() / Math.max(1, tiers.lookups()),
                (System.nanoTime() - from) / 1e9);
    }

    private static int groupOf(long key) {
        return (int) ((key * 0x9E3779B97F4A7C15L) >>> 58);
    }

    private long key(long key) {
        Memory.putLong(scratch, key);
        return scratch;
    }

    private void fill() {
        for (int at = 8; at < 8 + VALUE_BYTES; at += 4) {
            Memory.putInt(scratch + at, random.nextInt());
        }
    }

    private void put(long key) {
        fill();
        engine.put(groupOf(key), 0, key(key), Long.BYTES, scratch + 8, VALUE_BYTES);
        changes++;
    }

    /** Uploads what no checkpoint before has, and lets packing and merging go on meanwhile as between two checkpoints. */
    private void checkpoint() {
        try (SnapshotView view = engine.seal()) {
            for (SegmentView segment : view.segments()) {
                if (uploaded.add(segment.number())) {
                    uploadedBytes += segment.file() == null ? segment.usedBytes() : segment.file().bytes();
                }
            }
        }
    }

    private void awaitMerges() {
        long before = -1;
        while (engine.isMerging() || engine.tierStatistics().mergedBytes() != before) {
            before = engine.tierStatistics().mergedBytes();
            LockSupport.parkNanos(20_000_000);
            engine.seal().close();
        }
    }

    /** Ranks by the method of Gray et al., SIGMOD'94, scattered over all keys. */
    private final class Zipf {
        private final long n;
        private final double zeta;
        private final double eta;

        Zipf(long n) {
            this.n = n;
            double sum = 0;
            for (long i = 1; i <= n; i++) {
                sum += Math.pow(i, -THETA);
            }
            zeta = sum;
            eta = (1 - Math.pow(2.0 / n, 1 - THETA)) / (1 - (1 + Math.pow(0.5, THETA)) / zeta);
        }

        long next() {
            double u = random.nextDouble();
            double uz = u * zeta;
            long rank = uz < 1 ? 0 : uz < 1 + Math.pow(0.5, THETA) ? 1 : (long) (n * Math.pow(eta * u - eta + 1, 1 / (1 - THETA)));
            return Math.floorMod(rank * 2_654_435_761L, n);
        }
    }
}
