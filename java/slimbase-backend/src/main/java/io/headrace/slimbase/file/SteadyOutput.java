package io.headrace.slimbase.file;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Writes much to a disk that lookups read from. What was written is brought to the disk every few megabytes, one stream of the process after the other, and the disk is then
 * left to others for half as long as that took.
 *
 * <p>Left to the operating system, written bytes fill the memory that a container may use for pages, and the disk then gets hundreds of megabytes at once: a lookup that needs a
 * few kilobytes of that disk, or a page of that memory, waits for all of them. The figures are in bench/NOTES.md.
 */
public final class SteadyOutput extends OutputStream {
    /** Has everything that was written so far brought to the disk. */
    public interface Sync {
        /** Returns when it is there. */
        void sync() throws IOException;
    }

    /** A read behind it waits for some ten milliseconds. Pieces of 4 MiB make the disk do so much else for each that all takes half as long again. */
    static final int PIECE_BYTES = 16 << 20;

    /** For each second that the disk is written, so long it is left to others. */
    private static final double REST = 0.5;

    private static final ReentrantLock TURN = new ReentrantLock(true);

    private final OutputStream out;
    private final Sync sync;
    private long unsynced;

    /** Passes everything on to `out`, and calls `sync` after each piece. */
    public SteadyOutput(OutputStream out, Sync sync) {
        this.out = out;
        this.sync = sync;
    }

    /** A file of this machine, new or emptied. */
    public static OutputStream to(Path file) throws IOException {
        FileChannel channel =
                FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING, StandardOpenOption.WRITE);
        return new SteadyOutput(Channels.newOutputStream(channel), () -> channel.force(false));
    }

    @Override
    public void write(int b) throws IOException {
        out.write(b);
        count(1);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
        out.write(bytes, offset, length);
        count(length);
    }

    private void count(int bytes) throws IOException {
        unsynced += bytes;
        if (unsynced >= PIECE_BYTES) {
            unsynced = 0;
            out.flush();
            TURN.lock();
            try {
                long from = System.nanoTime();
                sync.sync();
                LockSupport.parkNanos((long) ((System.nanoTime() - from) * REST));
            } finally {
                TURN.unlock();
            }
        }
    }

    @Override
    public void flush() throws IOException {
        out.flush();
    }

    /** Closes `out`. */
    @Override
    public void close() throws IOException {
        out.close();
    }
}
