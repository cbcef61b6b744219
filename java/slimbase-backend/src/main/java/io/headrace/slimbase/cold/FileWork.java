package io.headrace.slimbase.cold;

import io.headrace.slimbase.engine.SlimBaseException;
import java.io.IOException;

/** Runs work on files and says in one way what went wrong. */
final class FileWork {
    /** What reads or writes. */
    interface Work<T> {
        T run() throws IOException;
    }

    private FileWork() {}

    /**
     * Runs the work.
     *
     * @throws SlimBaseException Unavailable when the storage refuses; what the work itself throws of that kind goes through
     */
    static <T> T run(String what, Object place, String hint, Work<T> work) {
        try {
            return work.run();
        } catch (IOException e) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unavailable, what + ", path=`" + place + "`, cause=`" + e.getMessage() + "`", hint, e);
        }
    }
}
