package io.headrace.slimbase.file;

import java.io.EOFException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A remote file, of which extents are kept on the local disk. Nothing is read before it is asked for, so opening costs nothing.
 *
 * <p>A missing extent is fetched whole; when extents are asked for in order, with the next one in the same request. What fails is tried again by {@link
 * RetryingSource}. The local copy has no checksums of its own: who finds that bytes do not fit theirs lets it {@link #forget} them and reads once more.
 * Safe for several threads; one fetches at a time. What will be needed is fetched beside that by the cache's threads, once and without further tries:
 * who then reads it waits for what is under way, and fetches it himself where that failed.
 */
public final class CachedSource implements FileSource {
    private static final int EXTENT = ExtentCache.EXTENT_BYTES;

    private final RetryingSource remote;
    private final RetryingSource.Opening opening;
    private final ExtentCache cache;
    private final int fileId;
    /** By extent, what is fetched ahead. */
    private final Map<Integer, FutureTask<byte[]>> ahead = new ConcurrentHashMap<>();

    private final AtomicLong bytesFetched = new AtomicLong();
    private int lastFetched = -2;
    private volatile boolean isClosed;

    /**
     * For a file of known length.
     *
     * @param name for messages
     * @param sleeper waits between tries
     */
    public CachedSource(
            String name, long length, RetryingSource.Opening opening, ExtentCache cache, RateLimiter.Sleeper sleeper) {
        this.remote = new RetryingSource(name, length, opening, sleeper, false);
        this.opening = opening;
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
                byte[] content = fetchedAhead(extent);
                // What is not under way may just have come.
                boolean hasCome =
                        content == null && cache.contains(fileId, extent) && cache.read(fileId, extent, from, to, offset + done, count);
                if (!hasCome) {
                    System.arraycopy(content != null ? content : fetch(extent), from, to, offset + done, count);
                }
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
        byte[] content = fetch(remote, extent, withNext ? 2 : 1);
        int bytes = content.length;
        if (withNext) {
            cache.put(fileId, extent + 1, content, EXTENT, bytes - EXTENT);
        }
        lastFetched = withNext ? extent + 1 : extent;
        return content;
    }

    /** Fetches extents and puts the first one into the cache. */
    private byte[] fetch(FileSource source, int extent, int extents) throws IOException {
        long start = (long) extent * EXTENT;
        int bytes = (int) Math.min(length() - start, (long) extents * EXTENT);
        byte[] content = new byte[bytes];
        source.read(start, content, 0, bytes);
        cache.fetched(bytes);
        bytesFetched.addAndGet(bytes);
        cache.put(fileId, extent, content, 0, Math.min(bytes, EXTENT));
        return content;
    }

    /** Has the extents fetched unless they are there, as far as threads are free soon; returns at once. */
    @Override
    public void willNeed(long position, long bytes) {
        for (long at = position / EXTENT; at * EXTENT < Math.min(position + bytes, length()); at++) {
            int extent = (int) at;
            if (!cache.contains(fileId, extent)) {
                FutureTask<byte[]> task = new FutureTask<>(() -> fetchAhead(extent));
                boolean isNew = ahead.putIfAbsent(extent, task) == null;
                // What was under way may just have come.
                if (isNew && (cache.contains(fileId, extent) || !cache.fetchSoon(task))) {
                    ahead.remove(extent, task);
                    task.cancel(false);
                }
            }
        }
    }

    private byte[] fetchAhead(int extent) throws IOException {
        try (FileSource source = opening.open()) {
            return fetch(source, extent, 1);
        } finally {
            ahead.remove(extent);
            if (isClosed) {
                cache.forget(fileId, extent);
            }
        }
    }

    /** What was fetched ahead or is being so; null when it is not, or in vain. */
    private byte[] fetchedAhead(int extent) throws IOException {
        FutureTask<byte[]> task = ahead.get(extent);
        if (task == null) {
            return null;
        }
        // Here and now, if no thread has come to it yet.
        task.run();
        try {
            return task.get();
        } catch (ExecutionException | CancellationException e) {
            return null;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted while waiting for a range, file=`" + name() + "`");
        }
    }

    /** Bytes fetched so far. */
    public long bytesFetched() {
        return bytesFetched.get();
    }

    /** Requests made so far but for those ahead, failed ones too. */
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
        isClosed = true;
        ahead.values().forEach(task -> task.cancel(true));
        cache.forget(fileId);
        remote.close();
    }
}
