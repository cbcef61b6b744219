package io.headrace.slimbase.file;

import java.io.EOFException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/** Bytes that fail to come as often as it is told, and notes what was asked for. */
final class FaultySource implements FileSource {
    private final FileSource inner;
    final List<Long> positions = new ArrayList<>();
    /** So many reads fail from now on. */
    int failures;
    /** So many reads end too early from now on. */
    int cuts;

    boolean isClosed;

    FaultySource(String name, byte[] content) {
        inner = FileSources.bytes(name, content);
    }

    @Override
    public String name() {
        return inner.name();
    }

    @Override
    public long length() {
        return inner.length();
    }

    @Override
    public synchronized void read(long position, byte[] to, int offset, int bytes) throws IOException {
        positions.add(position);
        if (failures > 0) {
            failures--;
            throw new IOException("connection lost");
        }
        if (cuts > 0) {
            cuts--;
            inner.read(position, to, offset, bytes / 2);
            throw new EOFException("stream ends");
        }
        inner.read(position, to, offset, bytes);
    }

    @Override
    public void close() {
        isClosed = true;
    }
}
