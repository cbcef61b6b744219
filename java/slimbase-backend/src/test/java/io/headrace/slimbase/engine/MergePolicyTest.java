package io.headrace.slimbase.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** What is merged when, and what that costs in the long run for state that is overwritten and for state that comes and goes. */
class MergePolicyTest {
    private static final long SEGMENT = 64 << 20;
    /** An index takes so much of its run. */
    private static final long INDEX_SHARE = 60;
    /** Keys of a run, where keys are overwritten. */
    private static final int PER_RUN = 200;

    private static long[][] noneDead(int runs) {
        return new long[runs][runs];
    }

    private static MergePolicy.Choice choose(long[] sizes, long[][] dead) {
        return choose(sizes, new long[sizes.length], dead);
    }

    private static MergePolicy.Choice choose(long[] sizes, long[] tombstones, long[][] dead) {
        return MergePolicy.choose(figures(sizes, tombstones, dead), Long.MAX_VALUE);
    }

    private static MergePolicy.Figures figures(long[] sizes, long[] tombstones, long[][] dead) {
        MergePolicy.Figures figures = new MergePolicy.Figures(sizes.length);
        System.arraycopy(sizes, 0, figures.sizes, 0, sizes.length);
        System.arraycopy(tombstones, 0, figures.tombstones, 0, sizes.length);
        for (int i = 0; i < sizes.length; i++) {
            figures.indexes[i] = sizes[i] / INDEX_SHARE;
            System.arraycopy(dead[i], 0, figures.dead[i], 0, sizes.length);
        }
        return figures;
    }

    private static String text(MergePolicy.Choice choice) {
        return choice == null ? "none" : choice.from + ".." + choice.to + " beside " + choice.witnesses;
    }

    /** A dozen of a size are merged, whatever stands before them; fewer are not. */
    @Test
    void sizeTiers() {
        assertNull(choose(new long[] {1000, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10}, noneDead(12)));
        assertEquals("1..13 beside []", text(choose(new long[] {1000, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10}, noneDead(13))));
        assertEquals("0..12 beside []", text(choose(new long[] {10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 1}, noneDead(13))));
    }

    /** An old run that newer ones have replaced is merged alone, beside those that say so; the live runs between are neither written nor read. */
    @Test
    void deadRunGoesAlone() {
        long[] sizes = {100, 40, 30, 20};
        long[][] dead = noneDead(4);
        dead[0][3] = 95;
        MergePolicy.Choice choice = choose(sizes, dead);
        assertEquals("0..1 beside [3]", text(choice));
    }

    /** A run of which next to nothing is left goes however little that is of all. */
    @Test
    void nearlyDeadRunGoesAtOnce() {
        long[] sizes = {1000, 100, 400, 300};
        long[][] dead = noneDead(4);
        dead[1][3] = 92;
        assertEquals("1..2 beside [3]", text(choose(sizes, dead)));
        dead[1][3] = 88;
        assertNull(choose(sizes, dead));
    }

    /** The oldest run's tombstones hide nothing any more: where they are most of it, it is written without them. */
    @Test
    void oldestTombstonesGo() {
        assertEquals("0..1 beside []", text(choose(new long[] {100, 20}, new long[] {90, 0}, noneDead(2))));
        assertNull(choose(new long[] {100, 20}, new long[] {30, 0}, noneDead(2)));
    }

    /** Little that is dead stays: freeing it would write far more. */
    @Test
    void littleGarbageStays() {
        long[] sizes = {100, 50, 50, 30};
        long[][] dead = noneDead(4);
        dead[0][3] = 40;
        dead[1][2] = 20;
        assertNull(choose(sizes, dead));
    }

    /** Runs as sets of keys: what the policy does to them when every estimate is right. */
    private static final class Runs {
        private static final int ENTRY = 10;

        private final int tombstone;
        private long indexRoom = Long.MAX_VALUE;

        /** With tombstones of so many bytes. */
        Runs(int tombstone) {
            this.tombstone = tombstone;
        }

        /** By key whether it is a value; else it is a tombstone. Oldest first. */
        final List<TreeMap<Integer, Boolean>> runs = new ArrayList<>();
        long written;
        long widest;

        long bytes() {
            return runs.stream().mapToLong(this::bytes).sum();
        }

        private long bytes(TreeMap<Integer, Boolean> run) {
            long tombstones = run.values().stream().filter(isValue -> !isValue).count();
            return (run.size() - tombstones) * ENTRY + tombstones * tombstone;
        }

        void add(TreeMap<Integer, Boolean> run) {
            runs.add(run);
            for (MergePolicy.Choice choice = choose(); choice != null; choice = choose()) {
                merge(choice);
            }
            widest = Math.max(widest, bytes());
        }

        private MergePolicy.Choice choose() {
            int count = runs.size();
            long[] sizes = new long[count];
            long[] tombstones = new long[count];
            long[][] dead = new long[count][count];
            for (int older = 0; older < count; older++) {
                sizes[older] = bytes(runs.get(older));
                tombstones[older] = tombstone * runs.get(older).values().stream().filter(isValue -> !isValue).count();
                for (var entry : runs.get(older).entrySet()) {
                    for (int newer = older + 1; newer < count; newer++) {
                        if (runs.get(newer).containsKey(entry.getKey())) {
                            dead[older][newer] += entry.getValue() ? ENTRY : tombstone;
                            break;
                        }
                    }
                }
            }
            return MergePolicy.choose(figures(sizes, tombstones, dead), indexRoom);
        }

        private void merge(MergePolicy.Choice choice) {
            TreeMap<Integer, Boolean> merged = new TreeMap<>();
            for (int i = choice.from; i < choice.to; i++) {
                merged.putAll(runs.get(i));
            }
            for (int each : choice.witnesses) {
                assertTrue(each >= choice.to, "a witness is newer");
                merged.keySet().removeAll(runs.get(each).keySet());
            }
            if (choice.from == 0) {
                merged.values().removeIf(isValue -> !isValue);
            }
            written += bytes(merged);
            runs.subList(choice.from, choice.to).clear();
            if (!merged.isEmpty()) {
                runs.add(choice.from, merged);
            }
        }
    }

    /** Uniform overwrites of a fixed set of keys: files stay below twice what is alive, runs few, and a byte is written less than four times. */
    @Test
    void overwrites() {
        Runs runs = new Runs(Runs.ENTRY);
        int keys = 4_000;
        overwrite(runs, keys);
        assertTrue(runs.widest < 2L * keys * Runs.ENTRY, "files take " + (double) runs.widest / (keys * Runs.ENTRY));
        double amplification = (double) runs.written / (400L * PER_RUN * Runs.ENTRY);
        assertTrue(amplification < 4, "merges write " + amplification);
    }

    private static void overwrite(Runs runs, int keys) {
        Random random = new Random(1);
        for (int i = 0; i < 400; i++) {
            TreeMap<Integer, Boolean> run = new TreeMap<>();
            while (run.size() < PER_RUN) {
                run.put(random.nextInt(keys), true);
            }
            runs.add(run);
            assertTrue(runs.runs.size() <= 18, runs.runs.size() + " runs");
        }
    }

    /** State that comes and goes in order, as a join's or a window's: what is dead goes unwritten, so that a byte is not written twice again. */
    @Test
    void comingAndGoing() {
        Runs runs = new Runs(Runs.ENTRY);
        int perRun = 100;
        int alive = 30 * perRun;
        comeAndGo(runs, perRun, alive);
        assertTrue(runs.widest < 3L * alive * Runs.ENTRY, "files take " + (double) runs.widest / (alive * Runs.ENTRY));
        double amplification = (double) runs.written / (400L * 2 * perRun * Runs.ENTRY);
        assertTrue(amplification < 1.8, "merges write " + amplification);
    }

    /** The same where a tombstone is little beside what it hides, as of a map's page: each byte is written once more, as one of a dozen of a size, and goes unwritten when it is dead. */
    @Test
    void pagesComeAndGo() {
        Runs runs = new Runs(1);
        int perRun = 100;
        int alive = 80 * perRun;
        comeAndGo(runs, perRun, alive);
        assertTrue(runs.widest < 1.4 * alive * Runs.ENTRY, "files take " + (double) runs.widest / (alive * Runs.ENTRY));
        double amplification = (double) runs.written / (400L * perRun * Runs.ENTRY);
        assertTrue(amplification < 1.3, "merges write " + amplification);
    }

    private static void comeAndGo(Runs runs, int perRun, int alive) {
        for (int i = 0; i < 400; i++) {
            TreeMap<Integer, Boolean> run = new TreeMap<>();
            for (int key = i * perRun; key < (i + 1) * perRun; key++) {
                run.put(key, true);
                if (key >= alive) {
                    run.put(key - alive, false);
                }
            }
            runs.add(run);
        }
    }

    /** What is dead goes sooner where its indexes leave too little for records, but not when it is next to nothing. */
    @Test
    void deadIsFreedSoonerWhereIndexesAreShort() {
        long[] sizes = {6_000, 2_000, 600};
        MergePolicy.Figures figures = figures(sizes, new long[3], noneDead(3));
        figures.dead[0][1] = 1_600;
        long indexes = (6_000 + 2_000 + 600) / INDEX_SHARE;
        assertNull(MergePolicy.choose(figures, 2 * indexes));
        assertEquals("0..1 beside [1]", text(MergePolicy.choose(figures, indexes * 95 / 100)));
        figures.dead[0][1] = 1_000;
        assertNull(MergePolicy.choose(figures, indexes / 2));
    }

    /** The same in the long run: where twice the indexes of what is alive would be too much, files stay below, for more writing; where even those are, it ends. */
    @Test
    void overwritesWhereIndexesAreShort() {
        int keys = 4_000;
        for (double room : new double[] {1.5, 1.2, 0.5}) {
            Runs runs = new Runs(Runs.ENTRY);
            runs.indexRoom = (long) (room * keys * Runs.ENTRY / INDEX_SHARE);
            overwrite(runs, keys);
            double widest = (double) runs.widest / (keys * Runs.ENTRY);
            double amplification = (double) runs.written / (400L * PER_RUN * Runs.ENTRY);
            assertTrue(widest <= Math.max(room, 1 + MergePolicy.DEAD_SHARE_LEAST) + 0.02, "room " + room + ", files take " + widest);
            assertTrue(amplification < 6, "room " + room + ", merges write " + amplification);
        }
    }

    /** State that grows to fifty times its memory, a segment at a time, indexes most of it at the end: runs stay few. */
    @Test
    void growthKeepsRunsFew() {
        long room = 192 << 20;
        Random random = new Random(1);
        List<Long> runs = new ArrayList<>();
        int most = 0;
        for (int segment = 0; segment < 180; segment++) {
            runs.add(SEGMENT / 2 + random.nextInt((int) SEGMENT / 2));
            while (true) {
                long[] sizes = runs.stream().mapToLong(Long::longValue).toArray();
                MergePolicy.Figures figures = figures(sizes, new long[sizes.length], noneDead(sizes.length));
                MergePolicy.Choice choice = MergePolicy.choose(figures, room);
                if (choice == null) {
                    break;
                }
                List<Long> merged = runs.subList(choice.from, choice.to);
                long size = merged.stream().mapToLong(Long::longValue).sum();
                merged.clear();
                runs.add(choice.from, size);
            }
            most = Math.max(most, runs.size());
        }
        assertTrue(most < 25, most + " runs");
    }

    /** However many runs there are, something is chosen soon, and it is runs beside each other. */
    @Test
    void manyRuns() {
        long[] sizes = new long[500];
        Arrays.fill(sizes, 64);
        MergePolicy.Choice choice = choose(sizes, noneDead(500));
        assertNotNull(choice);
        assertEquals("0..500 beside []", text(choice));
    }
}
