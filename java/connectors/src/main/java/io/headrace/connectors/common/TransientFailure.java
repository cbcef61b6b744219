package io.headrace.connectors.common;

import java.io.IOException;

/** The store could not take a batch now; it may later. Kind `Unavailable` of the platform's errors. */
public final class TransientFailure extends IOException {

    private static final long serialVersionUID = 1L;

    /** What failed, lower case, without full stop. */
    public TransientFailure(String message, Throwable cause) {
        super(message, cause);
    }

    /** The same after the last attempt, with a hint. */
    public TransientFailure afterAttempts(int attempts) {
        return new TransientFailure(
                getMessage()
                        + ", attempts="
                        + attempts
                        + "\nhint: check that the store runs; `sink.retries` sets how long an outage is bridged",
                this);
    }
}
