package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.MemoryBudget;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.engine.UnsafeAllocator;
import io.headrace.slimbase.file.ValueFilter;
import io.headrace.slimbase.registry.StateKind;
import io.headrace.slimbase.registry.StateRegistry;
import org.junit.jupiter.api.Test;

class ExpiryFilterTest {
    private static final long NOW = 1_700_000_000_000L;
    private static final long TTL = 1000;

    private final StateRegistry registry = new StateRegistry();

    private boolean keeps(ValueFilter filter, SlimEngine engine, int identity, long timestamp, int valueLength) {
        long scratch = Memory.allocate(64);
        Memory.putLong(scratch, 7);
        Memory.putLong(scratch + 8, Long.reverseBytes(timestamp));
        boolean keeps = filter.keep(engine.put(0, identity, scratch, 8, scratch + 8, valueLength));
        assertEquals(keeps, filter.keepEntry(identity, scratch, 8, scratch + 8, valueLength), "as an entry of a file");
        Memory.free(scratch);
        return keeps;
    }

    /** A value goes when its last access is a whole time to live ago, as Flink's TtlUtils counts; other kinds and states stay. */
    @Test
    void boundaries() {
        int plain = registry.register("plain", StateKind.VALUE, null, 0).identity();
        int ttl = registry.register("ttl", StateKind.VALUE, null, TTL).identity();
        int list = registry.register("list", StateKind.LIST, null, TTL).identity();
        ValueFilter filter = ExpiryFilter.of(registry.states(), NOW);
        try (SlimEngine engine = new SlimEngine(new MemoryBudget(1 << 24), new UnsafeAllocator(), 0, 1, registry)) {
            assertEquals(false, keeps(filter, engine, ttl, NOW - TTL, 12));
            assertEquals(true, keeps(filter, engine, ttl, NOW - TTL + 1, 12));
            assertEquals(true, keeps(filter, engine, ttl, 0, 4));
            assertEquals(true, keeps(filter, engine, plain, 0, 12));
            assertEquals(true, keeps(filter, engine, list, 0, 12));
            assertEquals(true, keeps(filter, engine, ttl + 1, 0, 12));
        }
    }

    /** Without a time to live nothing is asked. */
    @Test
    void noFilterWithoutTtl() {
        registry.register("plain", StateKind.VALUE, null, 0);
        assertNull(ExpiryFilter.of(registry.states(), NOW));
    }
}
