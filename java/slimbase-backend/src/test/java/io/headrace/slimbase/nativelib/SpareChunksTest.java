package io.headrace.slimbase.nativelib;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class SpareChunksTest {
    private static final long DEADLINE_NS = 20_000_000_000L;
    private static final long PLENTY = 1L << 30;

    private final SpareChunks spares = new SpareChunks();

    @BeforeEach
    void needsLibrary() {
        assumeTrue(NativeLibrary.isAvailable(), "no native library in this build");
    }

    @AfterEach
    void giveBack() {
        if (NativeLibrary.isAvailable()) {
            spares.expect(0);
        }
    }

    private static void await(BooleanSupplier condition) {
        long end = System.nanoTime() + DEADLINE_NS;
        while (!condition.getAsBoolean()) {
            assertTrue(System.nanoTime() < end, "waited too long");
            Thread.onSpinWait();
        }
    }

    /** What is expected is ready when it is taken, and the budget's room is the limit: with the spares the process holds no more than its budgets. */
    @Test
    void keepsNoMoreThanThereIsRoomFor() {
        spares.expect(SpareChunks.BYTES + 1);
        await(() -> spares.count() == 1);
        long address = spares.take(0);
        assertTrue(address != 0);
        NativeSlim.free(address, SpareChunks.BYTES);
        assertEquals(0, spares.count());
        spares.expect(PLENTY);
        await(() -> spares.count() >= SpareChunks.FIRST_KEPT);
        spares.expect(0);
        assertEquals(0, spares.count());
    }

    /** Whoever takes faster than chunks are prepared finds more of them the next time, up to a limit. */
    @Test
    void keepsMoreForWhoeverTakesTheLast() {
        spares.expect(PLENTY);
        await(() -> spares.count() == SpareChunks.FIRST_KEPT);
        int taken = 0;
        for (long address = spares.take(PLENTY); address != 0; address = spares.take(PLENTY)) {
            NativeSlim.free(address, SpareChunks.BYTES);
            taken++;
        }
        assertTrue(taken >= SpareChunks.FIRST_KEPT, "taken: " + taken);
        await(() -> spares.count() == SpareChunks.MOST_KEPT);
    }
}
