package io.headrace.slimbase.process;

import io.headrace.slimbase.engine.Allocator;
import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.MemoryBudget;
import io.headrace.slimbase.engine.SegmentView;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.engine.SnapshotView;
import io.headrace.slimbase.engine.UnsafeAllocator;
import io.headrace.slimbase.file.RecordRuns;
import io.headrace.slimbase.file.SegmentWriter;
import io.headrace.slimbase.layout.MapPages;
import io.headrace.slimbase.nativelib.NativeAllocator;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Fills an engine to its budget's brim under mixed load and prints what the process grew by, see {@link MemoryUseTest}.
 *
 * <p>Arguments: budget in MiB, {@code native} or {@code java}, operations, seed. Steps: a small engine takes the same load until the code is compiled, and stays as
 * it is; then the resident size is noted, and the large engine is filled, updated, and emptied in part, while sealed epochs are packed by another thread.
 */
public final class MemoryUse {
    private static final int KEY_GROUPS = 128;
    private static final int VALUE = 0;
    private static final int LIST = 2;
    private static final int MAP = 4;
    private static final long MIB = 1 << 20;
    private static final long SMALL_BUDGET = 32 * MIB;
    private static final int SMALL_OPERATIONS = 2_000_000;
    private static final int EPOCH_OPERATIONS = 100_000;
    /** Bytes of the budget for a key: with few the budget is too small for all keys in the end, with many it never is. */
    private static final int DENSE = 50;

    private static final int SPARSE = 400;
    private static final int REMOVED_WHEN_FULL = 50;

    private final SlimEngine engine;
    private final MapPages maps;
    private final Random random;
    private final ExecutorService packer = Executors.newSingleThreadExecutor(MemoryUse::daemon);
    private final long key = Memory.allocate(64);
    private final long value = Memory.allocate(1 << 10);
    private final int keys;
    private Future<?> packing;
    private long refused;
    private long mostUsed;
    private final MemoryBudget budget;

    private MemoryUse(long budgetBytes, int bytesPerKey, Allocator allocator, long seed) {
        budget = new MemoryBudget(budgetBytes);
        engine = new SlimEngine(budget, allocator, 0, KEY_GROUPS, id -> "state-" + id);
        maps = new MapPages(engine);
        random = new Random(seed);
        keys = (int) (budgetBytes / bytesPerKey);
    }

    /** Prints one line of figures. */
    public static void main(String[] arguments) throws Exception {
        long budgetBytes = Long.parseLong(arguments[0]) * MIB;
        boolean isNative = arguments[1].equals("native");
        int operations = Integer.parseInt(arguments[2]);
        long seed = Long.parseLong(arguments[3]);
        Allocator allocator = isNative ? NativeAllocator.best() : new UnsafeAllocator();
        MemoryUse small = new MemoryUse(SMALL_BUDGET, SPARSE, allocator, seed);
        small.run(SMALL_OPERATIONS);
        long before = status("VmRSS:");
        MemoryUse large = new MemoryUse(budgetBytes, DENSE, allocator, seed + 1);
        large.run(operations);
        System.out.println(
                "native=" + allocator.isNative()
                        + " budget_bytes=" + budgetBytes
                        + " used_bytes_max=" + large.mostUsed
                        + " growth_bytes=" + (status("VmRSS:") - before)
                        + " growth_bytes_max=" + (status("VmHWM:") - before)
                        + " refused=" + large.refused);
        System.exit(0);
    }

    /** Does not keep the process alive when main fails. */
    private static Thread daemon(Runnable work) {
        Thread thread = new Thread(work, "packer");
        thread.setDaemon(true);
        return thread;
    }

    private static long status(String name) throws IOException {
        return Files.readAllLines(Path.of("/proc/self/status")).stream()
                        .filter(line -> line.startsWith(name))
                        .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
                        .findFirst()
                        .orElseThrow()
                << 10;
    }

    private void run(int operations) throws Exception {
        for (int i = 0; i < operations; i++) {
            boolean done = attempt(this::step);
            for (int n = 0; !done && n < REMOVED_WHEN_FULL; n++) {
                attempt(() -> remove(random.nextInt(keys)));
            }
            if (i % EPOCH_OPERATIONS == 0) {
                snapshot();
            }
            mostUsed = Math.max(mostUsed, budget.usedBytes());
        }
        if (packing != null) {
            packing.get();
        }
    }

    /** False when there is no room. A full engine may refuse a removal too: the tombstone needs room. */
    private boolean attempt(Runnable operation) {
        try {
            operation.run();
            return true;
        } catch (SlimBaseException e) {
            if (e.kind() != SlimBaseException.Kind.Throttled) {
                throw e;
            }
            refused++;
            return false;
        }
    }

    private int choose(int which, int identity) {
        Memory.putLong(key, which * 0x9E3779B97F4A7C15L);
        return which & KEY_GROUPS - 1;
    }

    private void step() {
        int which = random.nextInt(keys);
        int what = random.nextInt(20);
        int length = random.nextInt(200) == 0 ? 1_000 : 8 + random.nextInt(60);
        Memory.putLong(value, random.nextLong());
        Memory.putByte(value, (byte) 0);
        if (what < 10) {
            engine.put(choose(which, VALUE), VALUE, key, Long.BYTES, value, length);
        } else if (what < 14) {
            engine.appendToList(choose(which / 4, LIST), LIST, key, Long.BYTES, value, 8);
        } else if (what < 19) {
            Memory.putLong(key + 32, random.nextInt(500));
            maps.put(choose(which / 64, MAP), MAP, key, Long.BYTES, key + 32, Long.BYTES, value, 9);
        } else {
            remove(which);
        }
    }

    private void remove(int which) {
        engine.remove(choose(which, VALUE), VALUE, key, Long.BYTES);
        engine.remove(choose(which / 4, LIST), LIST, key, Long.BYTES);
        if (which % 64 == 0) {
            maps.clear(choose(which / 64, MAP), MAP, key, Long.BYTES);
        }
    }

    /** A barrier; what was sealed is packed by another thread, as a checkpoint's background part does it. */
    private void snapshot() throws Exception {
        if (packing != null) {
            packing.get();
        }
        SnapshotView view = engine.seal();
        packing =
                packer.submit(
                        () -> {
                            try (view) {
                                SegmentView newest = view.segments().isEmpty() ? null : view.segments().get(view.segments().size() - 1);
                                if (newest != null) {
                                    SegmentWriter.of(RecordRuns.of(newest), null).write(newest.number(), OutputStream.nullOutputStream());
                                }
                            }
                            return null;
                        });
    }
}
