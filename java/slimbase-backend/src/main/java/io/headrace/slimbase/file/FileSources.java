package io.headrace.slimbase.file;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.apache.flink.core.fs.FSDataInputStream;

/** Where files are read from. */
public final class FileSources {
    private FileSources() {}

    /** A file of this machine. */
    public static FileSource local(Path path) throws IOException {
        FileChannel channel = FileChannel.open(path, StandardOpenOption.READ);
        return new LocalSource(path.toString(), channel, channel.size());
    }

    /** A stream of a checkpoint storage; it is closed with the source. */
    public static FileSource stream(String name, FSDataInputStream stream, long length) {
        return new StreamSource(name, stream, length);
    }

    /** Bytes in memory. */
    public static FileSource bytes(String name, byte[] content) {
        return new BytesSource(name, content);
    }

    private static final class LocalSource implements FileSource {
        private final String name;
        private final FileChannel channel;
        private final long length;

        LocalSource(String name, FileChannel channel, long length) {
            this.name = name;
            this.channel = channel;
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
            ByteBuffer buffer = ByteBuffer.wrap(to, offset, bytes);
            long at = position;
            while (buffer.hasRemaining()) {
                int count = channel.read(buffer, at);
                if (count < 0) {
                    throw new EOFException("file ends at " + at);
                }
                at += count;
            }
        }

        @Override
        public void close() throws IOException {
            channel.close();
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
            if (at != position) {
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
