package io.headrace.slimbase.engine;

import java.util.Locale;

/** What went wrong in the state engine. The kinds are the same in Rust, Python and Java. */
public class SlimBaseException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** What the caller can do about it. */
    public enum Kind {
        /** Fix the call. */
        Invalid,
        NotFound,
        /** Read again, decide again. */
        Conflict,
        Unsupported,
        /** An outside system does not answer; back off. */
        Unavailable,
        /** Slow down, or give more room. */
        Throttled,
        /** A newer owner exists; reopen. */
        Fenced,
        /** Stored data is wrong: stop, restore. */
        Corrupt,
        /** A bug of ours: report it. */
        Internal
    }

    private final Kind kind;
    private final String hint;

    public SlimBaseException(Kind kind, String message, String hint, Throwable cause) {
        super(hint == null || hint.isEmpty() ? message : message + "\nhint: " + hint, cause);
        this.kind = kind;
        this.hint = hint;
    }

    /** For native code, which knows the kind by its name. */
    public SlimBaseException(String kind, String message) {
        this(kindOf(kind), message, null, null);
    }

    private static Kind kindOf(String name) {
        for (Kind kind : Kind.values()) {
            if (kind.name().toLowerCase(Locale.ROOT).equals(name.toLowerCase(Locale.ROOT))) {
                return kind;
            }
        }
        return Kind.Internal;
    }

    public Kind kind() {
        return kind;
    }

    /** How to help oneself; may be null. */
    public String hint() {
        return hint;
    }
}
