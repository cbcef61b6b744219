package io.headrace.slimbase.faults;

import io.headrace.slimbase.faults.FileWatch.Kind;
import java.io.IOException;
import java.net.URI;
import org.apache.flink.core.fs.BlockLocation;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.FSDataOutputStream;
import org.apache.flink.core.fs.FileStatus;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.FileSystemFactory;
import org.apache.flink.core.fs.Path;
import org.apache.flink.core.fs.local.LocalFileSystem;

/**
 * Flink's local file system under two schemes of its own, for checkpoint storage of which a {@link FileWatch} sees each operation: {@code watched-near}
 * says that it is of this machine, {@code watched-far} that it is not.
 */
public final class WatchedFileSystem extends FileSystem {
    public static final String NEAR = "watched-near";
    public static final String FAR = "watched-far";

    /** Of all instances: Flink makes them by their scheme. */
    public static final FileWatch WATCH = new FileWatch();

    private final FileSystem inner = LocalFileSystem.getSharedInstance();
    private final String scheme;

    public WatchedFileSystem(String scheme) {
        this.scheme = scheme;
    }

    /** Found by Flink as a service. */
    public static final class NearFactory implements FileSystemFactory {
        @Override
        public String getScheme() {
            return NEAR;
        }

        @Override
        public FileSystem create(URI uri) {
            return new WatchedFileSystem(NEAR);
        }
    }

    /** Found by Flink as a service. */
    public static final class FarFactory implements FileSystemFactory {
        @Override
        public String getScheme() {
            return FAR;
        }

        @Override
        public FileSystem create(URI uri) {
            return new WatchedFileSystem(FAR);
        }
    }

    private static Path plain(Path path) {
        return new Path(path.getPath());
    }

    @Override
    public FSDataOutputStream create(Path path, WriteMode mode) throws IOException {
        FSDataOutputStream out = WATCH.run(Kind.CREATE, path.getPath(), () -> inner.create(plain(path), mode));
        return new Out(out, path.getPath());
    }

    @Override
    public FSDataInputStream open(Path path) throws IOException {
        return new In(WATCH.run(Kind.OPEN, path.getPath(), () -> inner.open(plain(path))), path.getPath());
    }

    @Override
    public FSDataInputStream open(Path path, int bufferBytes) throws IOException {
        return open(path);
    }

    @Override
    public boolean delete(Path path, boolean recursive) throws IOException {
        return WATCH.run(Kind.DELETE, path.getPath(), () -> inner.delete(plain(path), recursive));
    }

    @Override
    public boolean mkdirs(Path path) throws IOException {
        return WATCH.run(Kind.MAKE_FOLDER, path.getPath(), () -> inner.mkdirs(plain(path)));
    }

    @Override
    public boolean rename(Path from, Path to) throws IOException {
        return WATCH.run(Kind.RENAME, from.getPath(), () -> inner.rename(plain(from), plain(to)));
    }

    @Override
    public FileStatus getFileStatus(Path path) throws IOException {
        return inner.getFileStatus(plain(path));
    }

    @Override
    public FileStatus[] listStatus(Path path) throws IOException {
        return inner.listStatus(plain(path));
    }

    @Override
    public BlockLocation[] getFileBlockLocations(FileStatus file, long start, long length) throws IOException {
        return inner.getFileBlockLocations(file, start, length);
    }

    @Override
    public Path getWorkingDirectory() {
        return inner.getWorkingDirectory();
    }

    @Override
    public Path getHomeDirectory() {
        return inner.getHomeDirectory();
    }

    @Override
    public URI getUri() {
        return URI.create(scheme + ":///");
    }

    @Override
    public boolean isDistributedFS() {
        return scheme.equals(FAR);
    }

    private static final class Out extends FSDataOutputStream {
        private final FSDataOutputStream inner;
        private final String path;
        private boolean isClosed;

        Out(FSDataOutputStream inner, String path) {
            this.inner = inner;
            this.path = path;
        }

        @Override
        public void write(int b) throws IOException {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            int half = length / 2;
            part(Kind.WRITE, bytes, offset, half);
            part(Kind.WRITE_REST, bytes, offset + half, length - half);
        }

        private void part(Kind kind, byte[] bytes, int offset, int length) throws IOException {
            WATCH.run(
                    kind,
                    path,
                    () -> {
                        inner.write(bytes, offset, length);
                        return null;
                    });
        }

        @Override
        public long getPos() throws IOException {
            return inner.getPos();
        }

        @Override
        public void flush() throws IOException {
            inner.flush();
        }

        @Override
        public void sync() throws IOException {
            WATCH.run(
                    Kind.SYNC,
                    path,
                    () -> {
                        inner.sync();
                        return null;
                    });
        }

        @Override
        public void close() throws IOException {
            if (isClosed) {
                return;
            }
            isClosed = true;
            try {
                WATCH.run(Kind.CLOSE, path, () -> null);
            } finally {
                inner.close();
            }
        }
    }

    private static final class In extends FSDataInputStream {
        private final FSDataInputStream inner;
        private final String path;

        In(FSDataInputStream inner, String path) {
            this.inner = inner;
            this.path = path;
        }

        @Override
        public int read() throws IOException {
            return WATCH.run(Kind.READ, path, inner::read);
        }

        @Override
        public int read(byte[] to, int offset, int length) throws IOException {
            return WATCH.run(Kind.READ, path, () -> inner.read(to, offset, length));
        }

        @Override
        public void seek(long position) throws IOException {
            inner.seek(position);
        }

        @Override
        public long getPos() throws IOException {
            return inner.getPos();
        }

        @Override
        public void close() throws IOException {
            inner.close();
        }
    }
}
