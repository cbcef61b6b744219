package io.headrace.connectors.common;

import java.io.IOException;

/** The store will never take these rows as they are: the schema, the options or the rights are wrong. Kind `Invalid`. */
public final class RejectedRows extends IOException {

    private static final long serialVersionUID = 1L;

    /** What was rejected and by whom, and on a line of its own what to do. */
    public RejectedRows(String message, String hint) {
        super(message + "\nhint: " + hint);
    }
}
