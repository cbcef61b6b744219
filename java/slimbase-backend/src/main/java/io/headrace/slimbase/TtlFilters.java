package io.headrace.slimbase;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.engine.RecordFilter;
import io.headrace.slimbase.layout.MapFormat;
import io.headrace.slimbase.layout.OffHeapInput;
import io.headrace.slimbase.registry.StateKind;
import java.io.IOException;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.ListSerializer;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.runtime.state.ttl.TtlUtils;

/**
 * Tells the engine, when it moves records anyway, which ones have outlived their time. A value goes when its time stamp has expired; a list of
 * one block and a small map only when all that they hold has. What is kept is read as before: Flink checks the time at each access.
 */
final class TtlFilters {
    private TtlFilters() {}

    /** The filter for a state whose values carry time stamps. */
    static RecordFilter filter(StateKind kind, TypeSerializer<?> stateSerializer, long ttlMs, TtlTimeProvider clock) {
        if (kind == StateKind.LIST) {
            TypeSerializer<?> elements = ((ListSerializer<?>) stateSerializer).getElementSerializer().duplicate();
            OffHeapInput input = new OffHeapInput();
            return record -> keepList(record, elements, input, ttlMs, clock.currentTimestamp());
        }
        if (kind == StateKind.MAP) {
            return record -> keepMap(record, ttlMs, clock.currentTimestamp());
        }
        return record -> !expired(Record.valueAddress(record), ttlMs, clock.currentTimestamp());
    }

    private static boolean expired(long at, long ttlMs, long now) {
        return TtlUtils.expired(Long.reverseBytes(Memory.getLong(at)), ttlMs, now);
    }

    private static boolean keepList(long record, TypeSerializer<?> elements, OffHeapInput input, long ttlMs, long now) {
        if (Record.has(record, Record.CHAINED)) {
            return true;
        }
        long block = Record.valueAddress(record);
        input.set(block + 8, Memory.getInt(block));
        try {
            while (input.available() > 0) {
                if (!expired(input.position(), ttlMs, now)) {
                    return true;
                }
                elements.deserialize(input);
                if (input.available() > 0) {
                    input.readByte();
                }
            }
        } catch (IOException e) {
            throw new IllegalStateException("list cannot be read, serializer=`" + elements + "`", e);
        }
        return false;
    }

    private static boolean keepMap(long record, long ttlMs, long now) {
        long root = Record.valueAddress(record);
        if (MapFormat.isPaged(root)) {
            return true;
        }
        return MapFormat.anyEntry(
                root + MapFormat.ROOT_HEADER,
                MapFormat.count(root),
                value -> Memory.getByte(value) == 0 && !expired(value + 1, ttlMs, now));
    }
}
