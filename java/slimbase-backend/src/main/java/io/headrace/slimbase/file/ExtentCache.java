package io.headrace.slimbase.file;

import java.io.Closeable;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Extents of remote files on the local disk: one file of slots, bounded in size, each with one extent of {@link #EXTENT_BYTES}. What was not asked for
 * lately makes room (CLOCK). It begins empty; what is in the file is known in memory only. Thread-safe.
 *
 * <p>A local disk that fails costs speed, not state: extents that cannot be written or read back are fetched again, and counted.
 */
public final class ExtentCache implements Closeable {
    /** Large enough that a remote request (10 to 50 ms at object stores) is spread over 32 blocks, small enough for one that is needed alone. */
    public static final int EXTENT_BYTES = 256 << 10;

    private static final Logger LOG = LoggerFactory.getLogger(ExtentCache.class);
    private static final long FREE = -1;
    /** A batch of lookups is spread over so many connections; a store's client has some tens for the whole process. */
    private static final int FETCHERS = 4;

    private static final int FETCHES_WAITING = 256;
    private static final long FETCHER_IDLE_S = 10;

    private final Path path;
    private final RandomAccessFile file;
    private final Map<Long, Integer> slots = new HashMap<>();
    /** File id in the upper half, extent in the lower one. */
    private final long[] keys;

    private final int[] lengths;
    private final boolean[] wasUsed;
    private int hand;
    private int nextFile;
    private long hits;
    private long misses;
    private long localFailures;
    private long fetches;
    private long fetchedBytes;
    private boolean isClosed;
    private final ThreadPoolExecutor fetchers =
            new ThreadPoolExecutor(
                    FETCHERS, FETCHERS, FETCHER_IDLE_S, TimeUnit.SECONDS, new LinkedBlockingQueue<>(FETCHES_WAITING), ExtentCache::fetcher);

    /**
     * Makes the cache's file, which is deleted again when the cache is closed.
     *
     * @param path of the file; one that is there is emptied
     * @param limitBytes of it; two extents at least
     */
    public ExtentCache(Path path, long limitBytes) throws IOException {
        int count = (int) Math.max(2, Math.min(limitBytes / EXTENT_BYTES, Integer.MAX_VALUE / 16));
        this.path = path;
        keys = new long[count];
        lengths = new int[count];
        wasUsed = new boolean[count];
        Arrays.fill(keys, FREE);
        // No channel: that would close itself when an interrupted thread reads.
        file = new RandomAccessFile(path.toFile(), "rw");
        file.setLength(0);
        fetchers.allowCoreThreadTimeOut(true);
    }

    private static Thread fetcher(Runnable work) {
        Thread thread = new Thread(work, "slimbase-fetch");
        thread.setDaemon(true);
        return thread;
    }

    /** Runs a fetch on another thread; false when too many wait already, or the cache is closed. */
    boolean fetchSoon(Runnable fetch) {
        try {
            fetchers.execute(fetch);
            return true;
        } catch (RejectedExecutionException e) {
            return false;
        }
    }

    /** A number for a remote file. */
    synchronized int register() {
        return nextFile++;
    }

    /** Copies bytes of an extent; false when it is not there. */
    synchronized boolean read(int fileId, int extent, int from, byte[] to, int offset, int bytes) {
        Integer slot = slots.get(key(fileId, extent));
        if (slot == null || from + bytes > lengths[slot]) {
            misses++;
            return false;
        }
        try {
            file.seek((long) slot * EXTENT_BYTES + from);
            file.readFully(to, offset, bytes);
        } catch (IOException e) {
            failed("read", e);
            drop(slot);
            misses++;
            return false;
        }
        wasUsed[slot] = true;
        hits++;
        return true;
    }

    synchronized boolean contains(int fileId, int extent) {
        return slots.containsKey(key(fileId, extent));
    }

    /** Puts an extent in, in the place of one that was not used lately. */
    synchronized void put(int fileId, int extent, byte[] content, int offset, int bytes) {
        if (isClosed) {
            return;
        }
        long key = key(fileId, extent);
        Integer known = slots.get(key);
        int slot = known != null ? known : free();
        try {
            file.seek((long) slot * EXTENT_BYTES);
            file.write(content, offset, bytes);
        } catch (IOException e) {
            failed("write", e);
            drop(slot);
            return;
        }
        keys[slot] = key;
        lengths[slot] = bytes;
        // Not yet used: an extent that was only read ahead goes first.
        wasUsed[slot] = false;
        slots.put(key, slot);
    }

    private int free() {
        while (keys[hand] != FREE && wasUsed[hand]) {
            wasUsed[hand] = false;
            hand = (hand + 1) % keys.length;
        }
        int slot = hand;
        hand = (hand + 1) % keys.length;
        drop(slot);
        return slot;
    }

    private void drop(int slot) {
        if (keys[slot] != FREE) {
            slots.remove(keys[slot]);
            keys[slot] = FREE;
            wasUsed[slot] = false;
        }
    }

    private void failed(String what, IOException cause) {
        if (localFailures++ == 0) {
            LOG.warn("cache of remote files failed to {}, path=`{}`; going on without, told once", what, path, cause);
        }
    }

    private static long key(int fileId, int extent) {
        return (long) fileId << 32 | extent;
    }

    /** Forgets an extent; false when it was not there. */
    synchronized boolean forget(int fileId, int extent) {
        Integer slot = slots.get(key(fileId, extent));
        if (slot == null) {
            return false;
        }
        localFailures++;
        drop(slot);
        return true;
    }

    /** Forgets a file's extents. */
    synchronized void forget(int fileId) {
        for (int slot = 0; slot < keys.length; slot++) {
            if (keys[slot] != FREE && keys[slot] >>> 32 == fileId) {
                drop(slot);
            }
        }
    }

    /** Counts a fetch of extents from where the files are. */
    synchronized void fetched(long bytes) {
        fetches++;
        fetchedBytes += bytes;
    }

    /** How often extents were fetched. */
    public synchronized long fetches() {
        return fetches;
    }

    /** Bytes that were fetched. */
    public synchronized long fetchedBytes() {
        return fetchedBytes;
    }

    /** Reads that were served. */
    public synchronized long hits() {
        return hits;
    }

    /** Reads that were not served. */
    public synchronized long misses() {
        return misses;
    }

    /** Extents that the local disk failed to write or read, or gave back wrong. */
    public synchronized long localFailures() {
        return localFailures;
    }

    /** Bytes of the extents that are there. */
    public synchronized long usedBytes() {
        return slots.values().stream().mapToLong(slot -> lengths[slot]).sum();
    }

    @Override
    public synchronized void close() throws IOException {
        if (isClosed) {
            return;
        }
        isClosed = true;
        fetchers.shutdownNow();
        slots.clear();
        Arrays.fill(keys, FREE);
        file.close();
        Files.deleteIfExists(path);
    }
}
