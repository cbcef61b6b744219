package io.headrace.slimbase.file;

import io.headrace.slimbase.engine.SlimBaseException;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.NoSuchFileException;

/**
 * A remote file whose reads are tried again on a stream opened anew, with growing pauses, before they are {@code Unavailable}. Nothing is opened before
 * it is asked for. The storage's own client tries again, too, with pauses drawn by lot; here is what it gives up on, or gets as bytes that end too early.
 */
public final class RetryingSource implements FileSource {
    /** Opens the remote file, again after each failure. */
    public interface Opening {
        FileSource open() throws IOException;
    }

    private static final int TRIES = 5;
    /** A file that ends too early this often is shorter than it should be, and no pause helps. */
    private static final int TRIES_AT_END = 3;
    /** Pauses of 0.1, 0.4, 1.6 and 6.4 s: a lost connection is there again at once, a store that throttles or moves its master is left alone for seconds. */
    private static final long FIRST_PAUSE_NS = 100_000_000;

    private static final int PAUSE_FACTOR = 4;
    /** No try begins later than this: some clients try for ten minutes on their own, and need no more of it. */
    private static final long PATIENCE_NS = 30_000_000_000L;


    private final String name;
    private final long length;
    private final Opening opening;
    private final RateLimiter.Sleeper sleeper;
    private final boolean keepsOpen;
    private volatile FileSource stream;
    private volatile boolean isClosed;
    private volatile long requests;

    /**
     * For a file of known length.
     *
     * @param name for messages
     * @param sleeper waits between tries
     * @param keepsOpen whether the stream stays open between reads, as those who read in order want it. A store's client has tens of connections, a
     *     restore hundreds of files: who reads here and there gives the connection back
     */
    public RetryingSource(String name, long length, Opening opening, RateLimiter.Sleeper sleeper, boolean keepsOpen) {
        this.name = name;
        this.length = length;
        this.opening = opening;
        this.sleeper = sleeper;
        this.keepsOpen = keepsOpen;
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
        long started = sleeper.now();
        long pause = FIRST_PAUSE_NS;
        for (int attempt = 1; ; attempt++) {
            try {
                readOnce(position, to, offset, bytes);
                return;
            } catch (FileNotFoundException | NoSuchFileException e) {
                closeStream(e);
                throw e;
            } catch (IOException e) {
                closeStream(e);
                if (isClosed || e instanceof EOFException && attempt == TRIES_AT_END) {
                    throw e;
                }
                if (attempt == TRIES || sleeper.now() - started > PATIENCE_NS) {
                    throw unavailable(position, bytes, attempt, e);
                }
                pause(pause);
                pause *= PAUSE_FACTOR;
            }
        }
    }

    private void readOnce(long position, byte[] to, int offset, int bytes) throws IOException {
        if (isClosed) {
            throw new IOException("file is closed, file=`" + name + "`");
        }
        requests++;
        FileSource now = stream;
        if (now == null) {
            now = opening.open();
            stream = now;
        }
        now.read(position, to, offset, bytes);
        if (!keepsOpen || isClosed) {
            stream = null;
            now.close();
        }
    }

    private void closeStream(IOException cause) {
        FileSource broken = stream;
        stream = null;
        if (broken != null) {
            try {
                broken.close();
            } catch (IOException e) {
                cause.addSuppressed(e);
            }
        }
    }

    private SlimBaseException unavailable(long position, int bytes, int tries, IOException cause) {
        return new SlimBaseException(
                SlimBaseException.Kind.Unavailable,
                "remote file cannot be read, file=`" + name + "`, position=" + position + ", bytes=" + bytes + ", tries=" + tries
                        + ", cause=`" + cause.getMessage() + "`",
                "is the checkpoint storage reachable, and does it throttle? The job restarts from its last checkpoint",
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

    /** Requests made so far, failed ones too. */
    public long requests() {
        return requests;
    }

    /** Ends a read under way, too. */
    @Override
    public void close() throws IOException {
        isClosed = true;
        FileSource open = stream;
        if (open != null) {
            open.close();
        }
    }
}
