package io.headrace.slimbase.engine;

/** What the engine asks its owner. */
public interface EngineListener {
    /** The state's name, for messages. */
    String nameOfState(int stateId);
}
