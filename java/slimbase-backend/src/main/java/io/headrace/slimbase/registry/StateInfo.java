package io.headrace.slimbase.registry;

import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;

/** One registered state: its name, its number in records, and Flink's description of it. Task thread. */
public final class StateInfo {
    private final String name;
    private final int stateId;
    private final StateKind kind;
    private RegisteredKeyValueStateBackendMetaInfo<?, ?> metaInfo;
    private long ttlMs;
    private boolean isRegistered;

    StateInfo(String name, int stateId, StateKind kind, RegisteredKeyValueStateBackendMetaInfo<?, ?> metaInfo, long ttlMs) {
        this.name = name;
        this.stateId = stateId;
        this.kind = kind;
        this.metaInfo = metaInfo;
        this.ttlMs = ttlMs;
    }

    public String name() {
        return name;
    }

    public int stateId() {
        return stateId;
    }

    /** What the engine knows the state's records by. */
    public int identity() {
        return stateId * 2;
    }

    /** What the engine knows the pages of its maps by. */
    public int auxIdentity() {
        return stateId * 2 + 1;
    }

    public StateKind kind() {
        return kind;
    }

    public RegisteredKeyValueStateBackendMetaInfo<?, ?> metaInfo() {
        return metaInfo;
    }

    /** Puts a newer description in place, e.g. after the serializer has changed. */
    public void setMetaInfo(RegisteredKeyValueStateBackendMetaInfo<?, ?> newer) {
        this.metaInfo = newer;
    }

    /** Time to live in ms; 0 when there is none. */
    public long ttlMs() {
        return ttlMs;
    }

    /** What the job says now. */
    public void setTtlMs(long newTtlMs) {
        this.ttlMs = newTtlMs;
        this.isRegistered = true;
    }

    /**
     * Whether the job itself has registered the state. Until then the time to live is the checkpoint's: values begin with their last access when
     * there is one, but how long they are wanted is not known, since the job may keep them longer now.
     */
    public boolean isRegistered() {
        return isRegistered;
    }
}
