package io.headrace.slimbase;

import io.headrace.slimbase.engine.SlimBaseException;
import org.apache.flink.runtime.asyncprocessing.StateRequestType;

/** A state of the asynchronous API: it only makes requests; they are executed on the synchronous state behind it. */
interface AsyncSlimState<K, N> {
    /** What {@link #answer} gives when the record alone does not hold the answer. */
    Object NOT_WHOLE = new Object();

    /** The state that does the work. */
    AbstractSlimState<K, N, ?> sync();

    /** Executes a request; key and namespace are set. Returns what its future is completed with. */
    Object execute(StateRequestType type, Object payload) throws Exception;

    /**
     * Answers a request that reads (one of {@link BatchedReads#READS}) from its key's record, 0 when there is none; or says {@link #NOT_WHOLE}. Neither
     * key nor namespace is set, and nothing is written: records of other answers must stay where they are.
     */
    Object answer(StateRequestType type, Object payload, long record) throws Exception;

    /** What every kind of state can; else it is our mistake. */
    default Object executeCommon(StateRequestType type) {
        if (type != StateRequestType.CLEAR) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Internal,
                    "state cannot execute the request, type=" + type + ", state=`" + sync().info.name() + "`",
                    null,
                    null);
        }
        sync().clear();
        return null;
    }
}
