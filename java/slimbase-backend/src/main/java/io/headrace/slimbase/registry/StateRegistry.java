package io.headrace.slimbase.registry;

import io.headrace.slimbase.engine.EngineListener;
import io.headrace.slimbase.engine.SlimBaseException;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueSnapshotRestoreWrapper;

/** The states and timer queues of one backend, by name and by number. Task thread. */
public final class StateRegistry implements EngineListener {
    /** A record's header has 10 bits for the state id. */
    public static final int MAX_STATE_ID = 1023;

    private final Map<String, StateInfo> states = new LinkedHashMap<>();
    private final Map<String, HeapPriorityQueueSnapshotRestoreWrapper<?>> queues = new LinkedHashMap<>();
    private final Map<String, Integer> queueIds = new HashMap<>();
    private final String[] names = new String[MAX_STATE_ID + 1];

    /** Key/value states in the order of their registration. */
    public Collection<StateInfo> states() {
        return Collections.unmodifiableCollection(states.values());
    }

    /** The state of that name, or null. */
    public StateInfo state(String name) {
        return states.get(name);
    }

    /** A new state with the next free number. */
    public StateInfo register(
            String name, StateKind kind, RegisteredKeyValueStateBackendMetaInfo<?, ?> metaInfo, long ttlMs) {
        assert !states.containsKey(name) : "registered twice: " + name;
        StateInfo info = restore(name, -1, kind, metaInfo, ttlMs);
        info.setTtlMs(ttlMs);
        return info;
    }

    /**
     * A state from a checkpoint. It keeps its number when that is free (a negative one asks for any); a state that another
     * handle has brought already is returned as it is. Callers take the number from what is returned.
     */
    public StateInfo restore(
            String name, int stateId, StateKind kind, RegisteredKeyValueStateBackendMetaInfo<?, ?> metaInfo, long ttlMs) {
        StateInfo known = states.get(name);
        if (known != null) {
            return known;
        }
        StateInfo info = new StateInfo(name, claimId(name, stateId), kind, metaInfo, ttlMs);
        states.put(name, info);
        return info;
    }

    /** The live map of timer queues; Flink's queue manager adds to it. */
    public Map<String, HeapPriorityQueueSnapshotRestoreWrapper<?>> queues() {
        return queues;
    }

    /** The number of a timer queue, given at the first question. */
    public int queueStateId(String name) {
        Integer known = queueIds.get(name);
        if (known != null) {
            return known;
        }
        int id = claimId(name, -1);
        queueIds.put(name, id);
        return id;
    }

    /** Remembers a queue's number from a checkpoint, when it is free. */
    public void restoreQueueStateId(String name, int stateId) {
        if (!queueIds.containsKey(name)) {
            queueIds.put(name, claimId(name, stateId));
        }
    }

    /** The name behind a number; a question mark and the number when there is none. */
    public String nameOf(int stateId) {
        String name = stateId >= 0 && stateId < names.length ? names[stateId] : null;
        return name == null ? "?" + stateId : name;
    }

    @Override
    public String nameOfState(int stateId) {
        return nameOf(stateId);
    }

    private int claimId(String name, int wanted) {
        int id = wanted;
        if (id < 0 || id > MAX_STATE_ID || names[id] != null) {
            id = 0;
            while (id <= MAX_STATE_ID && names[id] != null) {
                id++;
            }
        }
        if (id > MAX_STATE_ID) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unsupported,
                    "operator has more states than slimbase numbers, state=`" + name + "`, limit=" + (MAX_STATE_ID + 1),
                    "split the operator, or put several fields into one state",
                    null);
        }
        names[id] = name;
        return id;
    }
}
