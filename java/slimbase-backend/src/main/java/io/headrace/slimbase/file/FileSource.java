package io.headrace.slimbase.file;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;

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

    /**
     * Fills what is left of the buffer from the position on.
     *
     * @throws java.io.EOFException when the file ends before
     */
    default void read(long position, ByteBuffer to) throws IOException {
        if (to.hasArray()) {
            read(position, to.array(), to.arrayOffset() + to.position(), to.remaining());
            to.position(to.limit());
        } else {
            byte[] bytes = new byte[to.remaining()];
            read(position, bytes, 0, bytes.length);
            to.put(bytes);
        }
    }

    /** Tells the machine that these bytes will be read soon. A hint: it returns at once, and most sources do nothing. */
    default void willNeed(long position, long bytes) {}

    /**
     * Forgets what is kept of these bytes, for they do not fit their checksum. True when something was, so that reading again may help.
     */
    default boolean forget(long position, long bytes) {
        return false;
    }
}
