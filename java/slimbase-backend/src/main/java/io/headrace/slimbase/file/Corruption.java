package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.SlimBaseException;

/** The errors of reading. */
final class Corruption {
    private static final String HINT = "restore an older checkpoint";

    private Corruption() {}

    static SlimBaseException corrupt(String what, String file, String values) {
        return corrupt(what, file, values, null);
    }

    static SlimBaseException corrupt(String what, String file, String values, Throwable cause) {
        return new SlimBaseException(
                SlimBaseException.Kind.Corrupt, what + ", file=`" + file + "`, " + values, HINT, cause);
    }

    static SlimBaseException checksum(String file, String place, int stored, int computed) {
        return corrupt(
                "checksum does not fit",
                file,
                place + String.format(", stored_crc32c=%08x, computed_crc32c=%08x", stored, computed));
    }

    static SlimBaseException newer(String file, long version) {
        return new SlimBaseException(
                SlimBaseException.Kind.Unsupported,
                "file is of a newer version, file=`" + file + "`, version=" + version + ", newest_known=" + FileFormat.VERSION,
                "use the newer SlimBase that wrote it",
                null);
    }
}
