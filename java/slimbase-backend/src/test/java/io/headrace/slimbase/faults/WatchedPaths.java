package io.headrace.slimbase.faults;

import io.headrace.slimbase.faults.FileWatch.Kind;
import java.io.File;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.net.URI;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.AccessMode;
import java.nio.file.CopyOption;
import java.nio.file.DirectoryStream;
import java.nio.file.FileStore;
import java.nio.file.FileSystem;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.nio.file.StandardOpenOption;
import java.nio.file.WatchService;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.FileAttributeView;
import java.nio.file.attribute.UserPrincipalLookupService;
import java.nio.file.spi.FileSystemProvider;
import java.util.Map;
import java.util.Set;

/** Paths of this machine's file system of which a {@link FileWatch} sees what is done with them through {@link Files} and {@link FileChannel}. */
public final class WatchedPaths extends FileSystemProvider {
    private final FileWatch watch;
    private final FileSystem system = new WatchedSystem();

    public WatchedPaths(FileWatch watch) {
        this.watch = watch;
    }

    /** The same path, watched. */
    public Path of(Path path) {
        return (Path)
                Proxy.newProxyInstance(
                        WatchedPaths.class.getClassLoader(),
                        new Class<?>[] {Path.class, Inside.class},
                        (proxy, method, arguments) -> {
                            switch (method.getName()) {
                                case "inside":
                                    return path;
                                case "getFileSystem":
                                    return system;
                                case "toFile":
                                    return watchedFile(path);
                                default:
                                    return call(path, method, arguments);
                            }
                        });
    }

    /** A file whose path is watched: for those who are given folders as files. */
    public File folder(Path path) {
        return new File(path.toString()) {
            private static final long serialVersionUID = 1L;

            @Override
            public Path toPath() {
                return of(path);
            }
        };
    }

    /** Files are asked for by those who delete a whole folder. */
    private File watchedFile(Path path) throws IOException {
        return watch.run(Kind.DELETE_FOLDER, path.toString(), path::toFile);
    }

    private interface Inside {
        Path inside();
    }

    private Object call(Path path, java.lang.reflect.Method method, Object[] arguments) throws Throwable {
        Object[] plain = arguments == null ? new Object[0] : arguments.clone();
        for (int i = 0; i < plain.length; i++) {
            plain[i] = plain[i] instanceof Inside ? ((Inside) plain[i]).inside() : plain[i];
        }
        try {
            Object result = method.invoke(path, plain);
            return result instanceof Path ? of((Path) result) : result;
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    private static Path inside(Path path) {
        return path instanceof Inside ? ((Inside) path).inside() : path;
    }

    @Override
    public FileChannel newFileChannel(Path path, Set<? extends OpenOption> options, FileAttribute<?>... attributes) throws IOException {
        Path plain = inside(path);
        boolean writes = options.contains(StandardOpenOption.WRITE);
        Kind kind = writes ? Kind.CREATE : Kind.OPEN;
        return watch.run(
                kind,
                plain.toString(),
                () -> new WatchedChannel(FileChannel.open(plain, options, attributes), watch, plain.toString(), writes));
    }

    @Override
    public SeekableByteChannel newByteChannel(Path path, Set<? extends OpenOption> options, FileAttribute<?>... attributes)
            throws IOException {
        return newFileChannel(path, options, attributes);
    }

    @Override
    public DirectoryStream<Path> newDirectoryStream(Path folder, DirectoryStream.Filter<? super Path> filter) throws IOException {
        return Files.newDirectoryStream(inside(folder), filter);
    }

    @Override
    public void createDirectory(Path folder, FileAttribute<?>... attributes) throws IOException {
        watch.run(Kind.MAKE_FOLDER, folder.toString(), () -> Files.createDirectory(inside(folder), attributes));
    }

    @Override
    public void delete(Path path) throws IOException {
        watch.run(
                Kind.DELETE,
                path.toString(),
                () -> {
                    Files.delete(inside(path));
                    return null;
                });
    }

    @Override
    public void move(Path from, Path to, CopyOption... options) throws IOException {
        watch.run(Kind.RENAME, from.toString(), () -> Files.move(inside(from), inside(to), options));
    }

    @Override
    public void copy(Path from, Path to, CopyOption... options) throws IOException {
        watch.run(Kind.CREATE, to.toString(), () -> Files.copy(inside(from), inside(to), options));
    }

    @Override
    public boolean isSameFile(Path a, Path b) throws IOException {
        return Files.isSameFile(inside(a), inside(b));
    }

    @Override
    public boolean isHidden(Path path) throws IOException {
        return Files.isHidden(inside(path));
    }

    @Override
    public FileStore getFileStore(Path path) throws IOException {
        return Files.getFileStore(inside(path));
    }

    @Override
    public void checkAccess(Path path, AccessMode... modes) throws IOException {
        Path plain = inside(path);
        plain.getFileSystem().provider().checkAccess(plain, modes);
    }

    @Override
    public <V extends FileAttributeView> V getFileAttributeView(Path path, Class<V> type, LinkOption... options) {
        return Files.getFileAttributeView(inside(path), type, options);
    }

    @Override
    public <A extends BasicFileAttributes> A readAttributes(Path path, Class<A> type, LinkOption... options) throws IOException {
        return Files.readAttributes(inside(path), type, options);
    }

    @Override
    public Map<String, Object> readAttributes(Path path, String attributes, LinkOption... options) throws IOException {
        return Files.readAttributes(inside(path), attributes, options);
    }

    @Override
    public void setAttribute(Path path, String attribute, Object value, LinkOption... options) throws IOException {
        Files.setAttribute(inside(path), attribute, value, options);
    }

    @Override
    public String getScheme() {
        return "watched";
    }

    @Override
    public FileSystem newFileSystem(URI uri, Map<String, ?> environment) {
        throw new UnsupportedOperationException();
    }

    @Override
    public FileSystem getFileSystem(URI uri) {
        return system;
    }

    @Override
    public Path getPath(URI uri) {
        return of(Path.of(uri.getPath()));
    }

    /** Leads from a path to the provider. */
    private final class WatchedSystem extends FileSystem {
        private final FileSystem plain = java.nio.file.FileSystems.getDefault();

        @Override
        public FileSystemProvider provider() {
            return WatchedPaths.this;
        }

        @Override
        public void close() {}

        @Override
        public boolean isOpen() {
            return true;
        }

        @Override
        public boolean isReadOnly() {
            return false;
        }

        @Override
        public String getSeparator() {
            return plain.getSeparator();
        }

        @Override
        public Iterable<Path> getRootDirectories() {
            return plain.getRootDirectories();
        }

        @Override
        public Iterable<FileStore> getFileStores() {
            return plain.getFileStores();
        }

        @Override
        public Set<String> supportedFileAttributeViews() {
            return plain.supportedFileAttributeViews();
        }

        @Override
        public Path getPath(String first, String... more) {
            return of(plain.getPath(first, more));
        }

        @Override
        public PathMatcher getPathMatcher(String pattern) {
            return plain.getPathMatcher(pattern);
        }

        @Override
        public UserPrincipalLookupService getUserPrincipalLookupService() {
            return plain.getUserPrincipalLookupService();
        }

        @Override
        public WatchService newWatchService() {
            throw new UnsupportedOperationException();
        }
    }
}
