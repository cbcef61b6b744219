package io.headrace.slimbase.cold;

import io.headrace.slimbase.file.FileSource;
import java.io.IOException;
import java.nio.ByteBuffer;

/** Reads a restored file: from the checkpoint until its copy is there. One thread. */
final class MovingSource implements FileSource {
    private final RestoredPlace place;
    private final boolean startedLocal;
    private FileSource now;
    private boolean moved;

    MovingSource(RestoredPlace place, FileSource now) {
        this.place = place;
        this.startedLocal = place.isLocal();
        this.now = now;
    }

    private FileSource source() throws IOException {
        if (!moved && !startedLocal && place.isLocal()) {
            FileSource local = place.openNow();
            now.close();
            now = local;
            moved = true;
        }
        return now;
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
        source().read(position, to, offset, bytes);
    }

    @Override
    public void read(long position, ByteBuffer to) throws IOException {
        source().read(position, to);
    }

    @Override
    public void willNeed(long position, long bytes) {
        now.willNeed(position, bytes);
    }

    @Override
    public void close() throws IOException {
        now.close();
    }
}
