package io.headrace.statebench.micro;

import io.headrace.statebench.Arguments;
import java.util.Map;

/** One kind of state: how it is loaded with n records, checked, and which operations are measured on it. */
interface Case extends AutoCloseable {

    /** Opens the backend and its state. */
    void open(Arguments arguments) throws Exception;

    /** Puts records 0..n-1, in scrambled order. */
    void load(long n) throws Exception;

    /** Throws AssertionError unless a sample of the records reads as loaded. */
    void check(long n) throws Exception;

    /** Waits for background work. */
    void settle() throws Exception;

    /** What is timed, in this order. */
    Map<String, Op> operations();

    /** How many timed operations of this name run at most; 0: as many as fit into the time. */
    default long limit(String operation, long n) {
        return 0;
    }

    /** Whether the operation is timed with Zipf keys too. */
    default boolean isSkewed(String operation) {
        return true;
    }

    @Override
    void close() throws Exception;
}
