package io.headrace.slimbase.faults;

import io.headrace.slimbase.faults.FileWatch.Kind;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.WritableByteChannel;

/** A file channel whose operations a {@link FileWatch} sees. */
final class WatchedChannel extends FileChannel {
    private final FileChannel inner;
    private final FileWatch watch;
    private final String path;
    private final boolean writes;

    WatchedChannel(FileChannel inner, FileWatch watch, String path, boolean writes) {
        this.inner = inner;
        this.watch = watch;
        this.path = path;
        this.writes = writes;
    }

    @Override
    public int read(ByteBuffer to) throws IOException {
        return watch.run(Kind.READ, path, () -> inner.read(to));
    }

    @Override
    public long read(ByteBuffer[] to, int offset, int length) throws IOException {
        return watch.run(Kind.READ, path, () -> inner.read(to, offset, length));
    }

    @Override
    public int read(ByteBuffer to, long position) throws IOException {
        return watch.run(Kind.READ, path, () -> inner.read(to, position));
    }

    private interface Writer {
        int write(ByteBuffer part) throws IOException;
    }

    @Override
    public int write(ByteBuffer from) throws IOException {
        return halves(from, inner::write);
    }

    @Override
    public int write(ByteBuffer from, long position) throws IOException {
        int start = from.position();
        return halves(from, part -> inner.write(part, position + part.position() - start));
    }

    private int halves(ByteBuffer from, Writer writer) throws IOException {
        int all = from.remaining();
        int end = from.limit();
        from.limit(from.position() + all / 2);
        try {
            watch.run(Kind.WRITE, path, () -> writer.write(from));
        } finally {
            from.limit(end);
        }
        watch.run(Kind.WRITE_REST, path, () -> writer.write(from));
        return all - from.remaining();
    }

    @Override
    public long write(ByteBuffer[] from, int offset, int length) throws IOException {
        long all = 0;
        for (int i = offset; i < offset + length; i++) {
            all += write(from[i]);
        }
        return all;
    }

    @Override
    public long position() throws IOException {
        return inner.position();
    }

    @Override
    public FileChannel position(long position) throws IOException {
        inner.position(position);
        return this;
    }

    @Override
    public long size() throws IOException {
        return inner.size();
    }

    @Override
    public FileChannel truncate(long size) throws IOException {
        inner.truncate(size);
        return this;
    }

    @Override
    public void force(boolean metadata) throws IOException {
        watch.run(
                Kind.SYNC,
                path,
                () -> {
                    inner.force(metadata);
                    return null;
                });
    }

    @Override
    public long transferTo(long position, long count, WritableByteChannel target) throws IOException {
        return inner.transferTo(position, count, target);
    }

    @Override
    public long transferFrom(ReadableByteChannel source, long position, long count) throws IOException {
        return inner.transferFrom(source, position, count);
    }

    @Override
    public MappedByteBuffer map(MapMode mode, long position, long size) {
        throw new UnsupportedOperationException("mapped files cannot be watched");
    }

    @Override
    public FileLock lock(long position, long size, boolean shared) throws IOException {
        return inner.lock(position, size, shared);
    }

    @Override
    public FileLock tryLock(long position, long size, boolean shared) throws IOException {
        return inner.tryLock(position, size, shared);
    }

    @Override
    protected void implCloseChannel() throws IOException {
        try {
            if (writes) {
                watch.run(Kind.CLOSE, path, () -> null);
            }
        } finally {
            inner.close();
        }
    }
}
