package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.SlimBaseException;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.NoSuchFileException;

/**
 * A remote file, of which extents are kept on the local disk. Nothing is read before it is asked for, so opening costs nothing.
 *
 * <p>A missing extent is fetched whole; when extents are asked for in order, with the next one in the same request. What fails is tried three times on
 * a stream opened anew, with growing pauses, then it is {@code Unavailable}. The local copy has no checksums of its own: who finds that bytes do not
 * fit theirs lets it {@link #forget} them and reads once more. Safe for several threads; one fetches at a time.
 */
public final class CachedSource implements FileSource {
    /** Opens the remote file, again after each failure. */
    public interface Opening {
        FileSource open() throws IOException;
    }

    private static final int TRIES = 3;
    /** Pauses of 0.1 and 0.4 s: a lost connection is there again, and a store that throttles is not hit at once. */
    private static final long FIRST_PAUSE_NS = 100_000_000;

    private static final int PAUSE_FACTOR = 4;
    private static final int EXTENT = ExtentCache.EXTENT_BYTES;

    private final String name;
    private final long length;
    private final Opening opening;
    private final ExtentCache cache;
    private final RateLimiter.Sleeper sleeper;
    private final int fileId;
    private volatile FileSource remote;
    private int lastFetched = -2;
    private long bytesFetched;
    private long requests;
    private volatile boolean isClosed;

    /**
     * For a file of known length.
     *
     * @param name for messages
     * @param sleeper waits between tries
     */
    public CachedSource(String name, long length, Opening opening, ExtentCache cache, RateLimiter.Sleeper sleeper) {
        this.name = name;
        this.length = length;
        this.opening = opening;
        this.cache = cache;
        this.sleeper = sleeper;
        this.fileId = cache.register();
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
        if (position < 0 || position + bytes > length) {
            throw new EOFException("file ends at " + length);
        }
        int done = 0;
        while (done < bytes) {
            long at = position + done;
            int extent = (int) (at / EXTENT);
            int from = (int) (at % EXTENT);
            int count = Math.min(bytes - done, EXTENT - from);
            if (!cache.read(fileId, extent, from, to, offset + done, count)) {
                byte[] content = fetch(extent);
                System.arraycopy(content, from, to, offset + done, count);
            }
            done += count;
        }
    }

    @Override
    public boolean forget(long position, long bytes) {
        boolean had = false;
        for (int extent = (int) (position / EXTENT); (long) extent * EXTENT < position + bytes; extent++) {
            had |= cache.forget(fileId, extent);
        }
        return had;
    }

    /** The extent's bytes, and perhaps those of the next. */
    private synchronized byte[] fetch(int extent) throws IOException {
        boolean isSequential = extent == lastFetched + 1;
        boolean withNext = isSequential && (extent + 1L) * EXTENT < length && !cache.contains(fileId, extent + 1);
        long start = (long) extent * EXTENT;
        int bytes = (int) Math.min(length - start, withNext ? 2L * EXTENT : EXTENT);
        byte[] content = new byte[bytes];
        readRemote(start, content);
        cache.put(fileId, extent, content, 0, Math.min(bytes, EXTENT));
        if (withNext) {
            cache.put(fileId, extent + 1, content, EXTENT, bytes - EXTENT);
        }
        lastFetched = withNext ? extent + 1 : extent;
        bytesFetched += bytes;
        return content;
    }

    private void readRemote(long start, byte[] content) throws IOException {
        long pause = FIRST_PAUSE_NS;
        for (int attempt = 1; ; attempt++) {
            try {
                requests++;
                openRemote().read(start, content, 0, content.length);
                return;
            } catch (FileNotFoundException | NoSuchFileException e) {
                throw e;
            } catch (IOException e) {
                closeRemote(e);
                if (isClosed) {
                    throw e;
                }
                if (attempt == TRIES) {
                    throw giveUp(start, content.length, e);
                }
                pause(pause);
                pause *= PAUSE_FACTOR;
            }
        }
    }

    private FileSource openRemote() throws IOException {
        if (isClosed) {
            throw new IOException("file is closed, file=`" + name + "`");
        }
        if (remote == null) {
            remote = opening.open();
        }
        return remote;
    }

    private void closeRemote(IOException cause) {
        FileSource broken = remote;
        remote = null;
        if (broken != null) {
            try {
                broken.close();
            } catch (IOException e) {
                cause.addSuppressed(e);
            }
        }
    }

    /** A file that ends too early each time is shorter than it should be: readers know what that means. */
    private IOException giveUp(long start, int bytes, IOException cause) {
        if (cause instanceof EOFException) {
            return cause;
        }
        throw new SlimBaseException(
                SlimBaseException.Kind.Unavailable,
                "remote file could not be read, file=`" + name + "`, position=" + start + ", bytes=" + bytes + ", tries=" + TRIES,
                "is the checkpoint storage reachable?",
                cause);
    }

    private void pause(long nanoseconds) throws InterruptedIOException {
        try {
            sleeper.sleep(nanoseconds);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted while waiting to read again, file=`" + name + "`");
        }
    }

    /** Bytes fetched so far. */
    public synchronized long bytesFetched() {
        return bytesFetched;
    }

    /** Requests made so far, failed ones too. */
    public synchronized long requests() {
        return requests;
    }

    /** Ends reads under way, too. */
    @Override
    public void close() throws IOException {
        isClosed = true;
        cache.forget(fileId);
        FileSource open = remote;
        if (open != null) {
            open.close();
        }
    }
}
