package io.headrace.slimbase.cold;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.file.FileSource;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * Reads a restored file: from the checkpoint until its copy is there, then from that. One thread. A read that fails in the checkpoint while the copy
 * was finished is done there, since the checkpoint may go from that moment on.
 */
final class MovingSource implements FileSource {
    private final RestoredPlace place;
    private FileSource now;
    private boolean isLocal;

    /** `now` is how the file is read as long as it has no copy. */
    MovingSource(RestoredPlace place, FileSource now) {
        this.place = place;
        this.now = now;
    }

    /** Goes to the copy, if there is one that is not yet read; false when nothing changed. */
    private boolean move() throws IOException {
        if (isLocal || !place.isLocal()) {
            return false;
        }
        FileSource local = place.openCopy();
        place.closeFar(now);
        now = local;
        isLocal = true;
        return true;
    }

    @Override
    public String name() {
        return now.name();
    }

    @Override
    public long length() {
        return now.length();
    }

    @Override
    public void read(long position, byte[] to, int offset, int bytes) throws IOException {
        read(position, ByteBuffer.wrap(to, offset, bytes));
    }

    @Override
    public void read(long position, ByteBuffer to) throws IOException {
        move();
        int start = to.position();
        try {
            now.read(position, to);
        } catch (IOException | SlimBaseException e) {
            if (!move()) {
                throw e;
            }
            to.position(start);
            now.read(position, to);
        }
    }

    @Override
    public void willNeed(long position, long bytes) {
        now.willNeed(position, bytes);
    }

    @Override
    public boolean forget(long position, long bytes) {
        return now.forget(position, bytes);
    }

    @Override
    public void close() throws IOException {
        if (isLocal) {
            now.close();
        } else {
            place.closeFar(now);
        }
    }
}
