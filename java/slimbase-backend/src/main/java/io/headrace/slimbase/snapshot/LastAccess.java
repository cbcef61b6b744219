package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.file.AccessTimes;
import io.headrace.slimbase.layout.MapFormat;
import io.headrace.slimbase.registry.StateInfo;
import io.headrace.slimbase.registry.StateKind;
import java.util.Arrays;
import java.util.Collection;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.ListSerializer;

/**
 * When entries of states with a time to live were used last. Whole values say so themselves; of a small map and of a list whose elements have one
 * length it is the latest element. Of other lists elements cannot be told apart without reading them, and a map's root may be older than its pages:
 * for these it is not known.
 */
final class LastAccess implements AccessTimes {
    private static final int STATE_IDS = 1024;
    private static final int TIMESTAMP_BYTES = 8;
    /** Of a list's block before its elements: u32 used, u32 count. */
    private static final int LIST_HEADER = 8;

    private static final int UNKNOWN = 0;
    private static final int WHOLE = -1;
    private static final int MAP = -2;

    /** By state id: how values are read; of a list the length of its elements. */
    private final int[] shapes = new int[STATE_IDS];

    private LastAccess(Collection<StateInfo> states) {
        for (StateInfo state : states) {
            shapes[state.stateId()] = state.ttlMs() > 0 ? shape(state) : UNKNOWN;
        }
    }

    /** For the states as they are now; null when none has a time to live. */
    static AccessTimes of(Collection<StateInfo> states) {
        LastAccess times = new LastAccess(states);
        return Arrays.stream(times.shapes).allMatch(shape -> shape == UNKNOWN) ? null : times;
    }

    private static int shape(StateInfo state) {
        if (state.kind().isWholeValue()) {
            return WHOLE;
        }
        if (state.kind() == StateKind.MAP) {
            return MAP;
        }
        TypeSerializer<?> list = state.metaInfo().getStateSerializer();
        int length = list instanceof ListSerializer ? ((ListSerializer<?>) list).getElementSerializer().getLength() : -1;
        return state.kind() == StateKind.LIST && length >= TIMESTAMP_BYTES ? length : UNKNOWN;
    }

    @Override
    public long latest(int identity, long value, int valueLength) {
        int shape = shapes[identity >>> 1];
        boolean isPage = (identity & 1) != 0;
        if (shape == UNKNOWN || isPage || valueLength < TIMESTAMP_BYTES) {
            return ALWAYS;
        }
        if (shape == WHOLE) {
            return Long.reverseBytes(Memory.getLong(value));
        }
        return shape == MAP ? latestOfMap(value) : latestOfList(value, valueLength, shape);
    }

    private static long latestOfMap(long root) {
        if (MapFormat.isPaged(root)) {
            return ALWAYS;
        }
        long[] latest = {NEVER};
        boolean hasUnknown =
                MapFormat.anyEntry(
                        root + MapFormat.ROOT_HEADER,
                        MapFormat.count(root),
                        value -> {
                            if (Memory.getByte(value) != 0) {
                                return true;
                            }
                            latest[0] = Math.max(latest[0], Long.reverseBytes(Memory.getLong(value + 1)));
                            return false;
                        });
        return hasUnknown ? ALWAYS : latest[0];
    }

    private static long latestOfList(long block, int blockLength, int elementLength) {
        long used = Memory.getInt(block);
        long count = Memory.getInt(block + 4);
        long stride = elementLength + 1L;
        if (count < 0 || used > blockLength - LIST_HEADER || used != Math.max(0, count * stride - 1)) {
            return ALWAYS;
        }
        long latest = NEVER;
        for (long i = 0; i < count; i++) {
            latest = Math.max(latest, Long.reverseBytes(Memory.getLong(block + LIST_HEADER + i * stride)));
        }
        return latest;
    }
}
