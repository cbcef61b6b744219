package io.headrace.slimbase.file;

import java.io.Closeable;
import java.io.IOException;

/** Bytes of a file, wherever it is. One thread at a time. */
public interface FileSource extends Closeable {
    /** For messages. */
    String name();

    /** Length in bytes, as far as known before reading. */
    long length();

    /**
     * Fills the array's stretch from the position on.
     *
     * @throws java.io.EOFException when the file ends before
     */
    void read(long position, byte[] to, int offset, int bytes) throws IOException;
}
