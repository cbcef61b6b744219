package io.headrace.slimbase.faults;

import java.io.IOException;
import java.util.Map;
import java.util.TreeMap;

/**
 * Stands before every file operation of what is tested, one at a time: tells of it before it is done, and may refuse it. A write is two operations, so
 * that there is a moment at which half of it is in the file.
 */
public final class FileWatch {
    /** What is about to be done. */
    public enum Kind {
        CREATE,
        WRITE,
        WRITE_REST,
        SYNC,
        CLOSE,
        RENAME,
        DELETE,
        MAKE_FOLDER,
        DELETE_FOLDER,
        OPEN,
        READ;

        /** Whether afterwards the disk is another one. */
        public boolean isChange() {
            return this != OPEN && this != READ;
        }
    }

    /** One operation. */
    public static final class Operation {
        /** Counted from 1. */
        public final int number;

        public final Kind kind;
        public final String path;
        /** Who does it, without a number at the end. */
        public final String thread;

        Operation(int number, Kind kind, String path) {
            this.number = number;
            this.kind = kind;
            this.path = path;
            this.thread = Thread.currentThread().getName().replaceAll("-\\d+$", "");
        }

        @Override
        public String toString() {
            return number + " " + kind + " " + path + " by " + thread;
        }
    }

    /** Is told before an operation; what it throws is what the caller gets instead. */
    public interface Listener {
        void before(Operation operation) throws IOException;
    }

    /** The operation itself. */
    interface Action<T> {
        T run() throws IOException;
    }

    private final Map<String, Integer> counts = new TreeMap<>();
    private Listener listener = operation -> {};
    private int number;

    /** From here on operations count from 1 and are told to this listener. */
    public synchronized void begin(Listener told) {
        listener = told;
        number = 0;
        counts.clear();
    }

    /** Nobody is told any more. */
    public synchronized void end() {
        listener = operation -> {};
    }

    /** Operations since the begin. */
    public synchronized int operations() {
        return number;
    }

    /** How many there were of each kind, by who did them. */
    public synchronized Map<String, Integer> counts() {
        return new TreeMap<>(counts);
    }

    synchronized <T> T run(Kind kind, String path, Action<T> action) throws IOException {
        number++;
        Operation operation = new Operation(number, kind, path);
        counts.merge(operation.thread + " " + kind, 1, Integer::sum);
        listener.before(operation);
        return action.run();
    }
}
