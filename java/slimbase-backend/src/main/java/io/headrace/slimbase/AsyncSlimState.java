package io.headrace.slimbase;

import org.apache.flink.runtime.asyncprocessing.StateRequestType;

/** A state of the asynchronous API: it only makes requests; they are executed on the synchronous state behind it. */
interface AsyncSlimState<K, N> {
    /** The state that does the work. */
    AbstractSlimState<K, N, ?> sync();

    /** Executes a request; key and namespace are set. Returns what its future is completed with. */
    Object execute(StateRequestType type, Object payload) throws Exception;
}
