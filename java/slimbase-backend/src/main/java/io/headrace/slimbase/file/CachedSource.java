package io.headrace.slimbase.file;

import java.io.EOFException;
import java.io.IOException;

/**
 * A remote file, of which extents are kept on the local disk. Nothing is read before it is asked for, so opening costs nothing.
 *
 * <p>A missing extent is fetched whole; when extents are asked for in order, with the next one in the same request. What fails is tried again by {@link
 * RetryingSource}. The local copy has no checksums of its own: who finds that bytes do not fit theirs lets it {@link #forget} them and reads once more.
 * Safe for several threads; one fetches at a time.
 */
public final class CachedSource implements FileSource {
    private static final int EXTENT = ExtentCache.EXTENT_BYTES;

    private final RetryingSource remote;
    private final ExtentCache cache;
    private final int fileId;
    private int lastFetched = -2;
    private long bytesFetched;

    /**
     * For a file of known length.
     *
     * @param name for messages
     * @param sleeper waits between tries
     */
    public CachedSource(
            String name, long length, RetryingSource.Opening opening, ExtentCache cache, RateLimiter.Sleeper sleeper) {
        this.remote = new RetryingSource(name, length, opening, sleeper, false);
        this.cache = cache;
        this.fileId = cache.register();
    }

    @Override
    public String name() {
        return remote.name();
    }

    @Override
    public long length() {
        return remote.length();
    }

    @Override
    public void read(long position, byte[] to, int offset, int bytes) throws IOException {
        if (position < 0 || position + bytes > length()) {
            throw new EOFException("file ends at " + length());
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
        boolean withNext = isSequential && (extent + 1L) * EXTENT < length() && !cache.contains(fileId, extent + 1);
        long start = (long) extent * EXTENT;
        int bytes = (int) Math.min(length() - start, withNext ? 2L * EXTENT : EXTENT);
        byte[] content = new byte[bytes];
        remote.read(start, content, 0, bytes);
        cache.fetched(bytes);
        cache.put(fileId, extent, content, 0, Math.min(bytes, EXTENT));
        if (withNext) {
            cache.put(fileId, extent + 1, content, EXTENT, bytes - EXTENT);
        }
        lastFetched = withNext ? extent + 1 : extent;
        bytesFetched += bytes;
        return content;
    }

    /** Bytes fetched so far. */
    public synchronized long bytesFetched() {
        return bytesFetched;
    }

    /** Requests made so far, failed ones too. */
    public long requests() {
        return remote.requests();
    }

    /** Gives the file's extents back to the cache; the file may be read on. */
    public void release() {
        cache.forget(fileId);
    }

    /** Ends reads under way, too. */
    @Override
    public void close() throws IOException {
        cache.forget(fileId);
        remote.close();
    }
}
