package io.headrace.slimbase.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A writer, merges and a disk on a clock that is moved by hand: how many runs there come to be, how long writes wait, how evenly the disk is used. */
class MergePaceTest {
    private static final long SEGMENT = 32 << 20;
    private static final long APPEND = 4 << 10;
    private static final double NS = 1e9;

    private final List<Long> runs = new ArrayList<>();
    private final MergePace pace = new MergePace(0);
    private MergePolicy.Choice merging;
    private long mergeFrom;
    private double mergeLeft;
    private double now;
    private int runsMax;
    private double waited;
    private double longestWait;
    private double mergingTime;
    private double hurriedTime;

    /** Writes for so many seconds with so many bytes a second, on a disk that can merge so fast. */
    private void write(double seconds, double bytesPerS, double diskPerS) {
        double end = now + seconds * NS;
        long open = 0;
        while (now < end) {
            double wait = merging == null ? 0 : pace.waitNs(APPEND, runs.size());
            waited += wait;
            longestWait = Math.max(longestWait, wait);
            double step = APPEND / bytesPerS * NS + wait;
            now += step;
            progress(step, diskPerS);
            open += APPEND;
            if (open >= SEGMENT) {
                open = 0;
                runs.add(SEGMENT);
                pace.packed(SEGMENT, (long) now);
                begin();
                runsMax = Math.max(runsMax, runs.size());
            }
        }
    }

    private void progress(double step, double diskPerS) {
        if (merging == null) {
            return;
        }
        double wanted = pace.wanted(runs.size());
        mergingTime += step;
        hurriedTime += Double.isInfinite(wanted) ? step : 0;
        mergeLeft -= Math.min(wanted, diskPerS) * step / NS;
        if (mergeLeft <= 0) {
            List<Long> merged = runs.subList(merging.from, merging.to);
            long size = merged.stream().mapToLong(Long::longValue).sum();
            merged.clear();
            // Ten gigabytes are alive at most.
            runs.add(merging.from, Math.min(size, 10L << 30));
            pace.merged(2 * size, (long) now - mergeFrom);
            merging = null;
            begin();
        }
    }

    private void begin() {
        MergePolicy.Figures figures = new MergePolicy.Figures(runs.size());
        for (int i = 0; i < runs.size(); i++) {
            figures.sizes[i] = runs.get(i);
        }
        if (merging == null) {
            merging = MergePolicy.choose(figures, Long.MAX_VALUE);
            if (merging != null) {
                mergeFrom = (long) now;
                mergeLeft = 2.0 * runs.subList(merging.from, merging.to).stream().mapToLong(Long::longValue).sum();
            }
        }
    }

    /** On a disk that is fast enough merges go on all the time, without haste, and runs stay few. */
    @Test
    void mergesAreEven() {
        write(600, 20 << 20, 1e9);
        assertTrue(runsMax < MergePace.HURRY_RUNS, runsMax + " runs");
        assertEquals(0, waited);
        assertEquals(0, hurriedTime);
        assertTrue(mergingTime > 0.2 * now, "merges take " + mergingTime / now + " of the time");
    }

    /** A burst is caught up with, and leaves runs as few as before. */
    @Test
    void burstIsCaughtUpWith() {
        write(120, 10 << 20, 600 << 20);
        write(10, 200 << 20, 600 << 20);
        write(300, 10 << 20, 600 << 20);
        assertTrue(runs.size() < 3 * MergePolicy.FANOUT, runs.size() + " runs");
        assertTrue(waited < 2 * NS, waited / NS + " s");
    }

    /** On a disk that is too slow for the writer, writes wait, each for milliseconds, and runs come to an end. */
    @Test
    void slowDiskSlowsWrites() {
        write(900, 200 << 20, 100 << 20);
        int before = runsMax;
        assertTrue(before < 4 * MergePace.SLOW_RUNS, before + " runs");
        assertTrue(longestWait <= MergePace.MOST_WAIT_NS);
        assertTrue(waited > 0.5 * now, "writes wait " + waited / now + " of the time");
        write(900, 200 << 20, 100 << 20);
        assertTrue(runsMax < 1.5 * before + MergePolicy.FANOUT, "runs grow from " + before + " to " + runsMax);
    }

    /** Nobody waits while runs are few. */
    @Test
    void fewRunsNoWait() {
        assertEquals(0, pace.waitNs(1 << 30, MergePace.SLOW_RUNS - 1));
        assertTrue(pace.waitNs(1 << 30, MergePace.SLOW_RUNS) > 0);
        assertTrue(Double.isInfinite(pace.wanted(MergePace.HURRY_RUNS)));
    }
}
