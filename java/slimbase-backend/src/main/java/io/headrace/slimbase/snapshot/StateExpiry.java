package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.cold.Expiry;
import io.headrace.slimbase.file.AccessTimes;
import io.headrace.slimbase.file.ValueFilter;
import io.headrace.slimbase.registry.StateInfo;
import io.headrace.slimbase.registry.StateRegistry;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.runtime.state.ttl.TtlUtils;

/** Times to live as a backend's states have them at the moment of asking. */
public final class StateExpiry implements Expiry {
    private final StateRegistry registry;
    private final TtlTimeProvider clock;

    public StateExpiry(StateRegistry registry, TtlTimeProvider clock) {
        this.registry = registry;
        this.clock = clock;
    }

    @Override
    public ValueFilter filter() {
        return ExpiryFilter.of(registry.states(), clock.currentTimestamp());
    }

    @Override
    public AccessTimes accessTimes() {
        return LastAccess.of(registry.states());
    }

    @Override
    public boolean isExpired(int stateId, long lastAccessMs) {
        StateInfo state = registry.state(registry.nameOf(stateId));
        return state != null
                && state.stateId() == stateId
                && state.isRegistered()
                && state.ttlMs() > 0
                && TtlUtils.expired(lastAccessMs, state.ttlMs(), clock.currentTimestamp());
    }
}
