package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.file.ValueFilter;
import io.headrace.slimbase.registry.StateInfo;
import java.util.Collection;

/** Leaves expired values out of files that are packed or merged. A value with a time to live begins with its last access, 8 bytes big-endian. */
public final class ExpiryFilter implements ValueFilter {
    private static final int STATE_IDS = 1024;
    private static final int TIMESTAMP_BYTES = 8;

    /** By state id: values last accessed before are expired; the smallest long when the state has no time to live. */
    private final long[] oldest = new long[STATE_IDS];

    private ExpiryFilter(Collection<StateInfo> states, long nowMs) {
        java.util.Arrays.fill(oldest, Long.MIN_VALUE);
        for (StateInfo state : states) {
            if (expires(state)) {
                oldest[state.stateId()] = nowMs - state.ttlMs();
            }
        }
    }

    private static boolean expires(StateInfo state) {
        return state.ttlMs() > 0 && state.isRegistered() && state.kind().isWholeValue();
    }

    /** As of a time in ms; null when nothing expires. */
    public static ValueFilter of(Collection<StateInfo> states, long nowMs) {
        return states.stream().anyMatch(ExpiryFilter::expires) ? new ExpiryFilter(states, nowMs) : null;
    }

    @Override
    public boolean keep(long record) {
        return keep(Record.identity(record), Record.valueAddress(record), Record.valueLength(record));
    }

    @Override
    public boolean keepEntry(int identity, long key, int keyLength, long value, int valueLength) {
        return keep(identity, value, valueLength);
    }

    private boolean keep(int identity, long value, int valueLength) {
        long bound = oldest[identity >>> 1];
        boolean isAuxiliary = (identity & 1) != 0;
        if (bound == Long.MIN_VALUE || isAuxiliary || valueLength < TIMESTAMP_BYTES) {
            return true;
        }
        return Long.reverseBytes(Memory.getLong(value)) > bound;
    }
}
