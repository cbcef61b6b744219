package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.nativelib.NativeLibrary;
import io.headrace.slimbase.nativelib.NativeSlim;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.apache.flink.core.fs.FSDataInputStream;

/** Where files are read from. */
public final class FileSources {
    private FileSources() {}

    /** A file of this machine. */
    public static FileSource local(Path path) throws IOException {
        return new LocalSource(path);
    }

    /** A stream of a checkpoint storage; it is closed with the source. */
    public static FileSource stream(String name, FSDataInputStream stream, long length) {
        return new StreamSource(name, stream, length);
    }

    /** What a storage's client throws unchecked, as those of S3 do for what the store answers, is a failure of the storage like any other. */
    public static IOException ofClient(RuntimeException thrown) {
        return new IOException(thrown.getMessage(), thrown);
    }

    /** Bytes in memory. */
    public static FileSource bytes(String name, byte[] content) {
        return new BytesSource(name, content);
    }

    private static final class LocalSource implements FileSource {
        private static final int NOT_OPENED = -1;
        private static final int NO_HINTS = -2;

        private final Path path;
        private final long length;
        private FileChannel channel;
        private volatile boolean isClosed;
        private int hints = NativeLibrary.isAvailable() ? NOT_OPENED : NO_HINTS;

        LocalSource(Path path) throws IOException {
            this.path = path;
            this.channel = FileChannel.open(path, StandardOpenOption.READ);
            this.length = channel.size();
        }

        @Override
        public String name() {
            return path.toString();
        }

        @Override
        public long length() {
            return length;
        }

        @Override
        public void read(long position, byte[] to, int offset, int bytes) throws IOException {
            read(position, ByteBuffer.wrap(to, offset, bytes));
        }

        @Override
        public void read(long position, ByteBuffer to) throws IOException {
            long at = position;
            boolean interrupted = false;
            try {
                while (to.hasRemaining()) {
                    try {
                        int count = channel.read(to, at);
                        if (count < 0) {
                            throw new EOFException("file ends at " + at);
                        }
                        at += count;
                    } catch (ClosedByInterruptException e) {
                        interrupted |= reopen(e);
                    }
                }
            } finally {
                if (interrupted) {
                    Thread.currentThread().interrupt();
                }
            }
        }

        /** A channel closes itself when a thread with its interrupt flag set reads. User code may leave the flag so; state must still be read. */
        private boolean reopen(ClosedByInterruptException cause) throws IOException {
            Thread.interrupted();
            if (isClosed) {
                throw cause;
            }
            channel = FileChannel.open(path, StandardOpenOption.READ);
            if (isClosed) {
                channel.close();
                throw new ClosedChannelException();
            }
            return true;
        }

        @Override
        public void willNeed(long position, long bytes) {
            if (hints == NOT_OPENED) {
                hints = openHints();
            }
            if (hints >= 0) {
                NativeSlim.hintWillNeed(hints, position, bytes);
            }
        }

        private int openHints() {
            try {
                return NativeSlim.hintOpen(path.toString().getBytes(StandardCharsets.UTF_8));
            } catch (SlimBaseException e) {
                // Reading will say what is wrong, if anything is.
                return NO_HINTS;
            }
        }

        @Override
        public void close() throws IOException {
            isClosed = true;
            channel.close();
            if (hints >= 0) {
                NativeSlim.hintClose(hints);
                hints = NO_HINTS;
            }
        }
    }

    private static final class StreamSource implements FileSource {
        private final String name;
        private final FSDataInputStream stream;
        private final long length;
        /** Where the stream stands; asking it costs a system call on local files. -1 after a read that failed. */
        private long at;

        StreamSource(String name, FSDataInputStream stream, long length) {
            this.name = name;
            this.stream = stream;
            this.length = length;
        }

        @Override
        public String name() {
            return name;
        }

        @Override
        public long length() {
            return length;
        }

        @Override
        public void read(long position, byte[] to, int offset, int bytes) throws IOException {
            try {
                readAt(position, to, offset, bytes);
            } catch (RuntimeException e) {
                throw ofClient(e);
            }
        }

        private void readAt(long position, byte[] to, int offset, int bytes) throws IOException {
            if (at != position) {
                at = -1;
                stream.seek(position);
            }
            at = -1;
            int done = 0;
            while (done < bytes) {
                int count = stream.read(to, offset + done, bytes - done);
                if (count < 0) {
                    throw new EOFException("file ends at " + (position + done));
                }
                done += count;
            }
            at = position + bytes;
        }

        @Override
        public void close() throws IOException {
            stream.close();
        }
    }

    private static final class BytesSource implements FileSource {
        private final String name;
        private final byte[] content;

        BytesSource(String name, byte[] content) {
            this.name = name;
            this.content = content;
        }

        @Override
        public String name() {
            return name;
        }

        @Override
        public long length() {
            return content.length;
        }

        @Override
        public void read(long position, byte[] to, int offset, int bytes) throws IOException {
            if (position + bytes > content.length) {
                throw new EOFException("file ends at " + content.length);
            }
            System.arraycopy(content, (int) position, to, offset, bytes);
        }

        @Override
        public void close() {}
    }
}
