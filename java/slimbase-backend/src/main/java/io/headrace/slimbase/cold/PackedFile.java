package io.headrace.slimbase.cold;

import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.engine.KeyGroupSpan;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.file.EntryCursor;
import io.headrace.slimbase.file.EntryVisitor;
import io.headrace.slimbase.file.FileSource;
import io.headrace.slimbase.file.LookupBuffers;
import io.headrace.slimbase.file.LookupFile;
import io.headrace.slimbase.file.SegmentReader;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.util.concurrent.atomic.AtomicInteger;

/** A packed segment somewhere, opened for the engine's lookups. */
final class PackedFile implements ColdFile {
    private static final int COPY_BYTES = 256 << 10;
    private static final String READ_HINT = "look at the disk or checkpoint storage; the job restarts from its last checkpoint";

    /** Where the file is: opened again for each reader besides the task thread. */
    interface Place {
        /** For reading here and there. */
        FileSource open() throws IOException;

        /** For reading most of it once, from front to back: what is read is not kept. */
        default FileSource openInOrder() throws IOException {
            return open();
        }

        /** The file is not wanted any more. */
        void delete();
    }

    private final Place place;
    private final long number;
    private final LookupFile lookup;
    private final String name;
    private final Object tag;
    private final KeyGroupSpan span;
    private final AtomicInteger readers = new AtomicInteger();
    /** Turns the entries of a lookup into pieces; set for the time of one. */
    private PieceVisitor visitor;

    private final EntryVisitor entries =
            (keyGroup, identity, flags, key, keyLength, value, valueLength) -> visitor.piece(flags, value, valueLength);

    private PackedFile(Place place, long number, LookupFile lookup, String name, Origin origin) {
        this.place = place;
        this.number = number;
        this.lookup = lookup;
        this.name = name;
        this.tag = origin.tag;
        this.span = origin.span;
    }

    /** What else is known of a file: its tag, and which of its key groups count. After a rescale it may hold older versions of others. */
    static final class Origin {
        static final KeyGroupSpan ALL = new KeyGroupSpan(0, 1 << 15);

        final Object tag;
        final KeyGroupSpan span;

        Origin(Object tag, KeyGroupSpan span) {
            this.tag = tag;
            this.span = span;
        }
    }

    /** Opens the file. */
    static PackedFile open(Place place, long number, LookupBuffers buffers, Origin origin) throws IOException {
        FileSource source = place.open();
        String name = source.name();
        return new PackedFile(place, number, LookupFile.open(source, buffers), name, origin);
    }

    @Override
    public long number() {
        return number;
    }

    @Override
    public long storedNumber() {
        return lookup.segmentNumber();
    }

    @Override
    public long bytes() {
        return lookup.length();
    }

    @Override
    public long memoryBytes() {
        return lookup.memoryBytes();
    }

    @Override
    public int firstKeyGroup() {
        return Math.max(span.first(), lookup.firstKeyGroup());
    }

    @Override
    public int lastKeyGroup() {
        return Math.min(span.first() + span.count() - 1, lookup.lastKeyGroup());
    }

    @Override
    public boolean mayContain(long hash) {
        return lookup.mayContain(hash);
    }

    @Override
    public int find(int keyGroup, int identity, long hash, long key, int keyLength, PieceVisitor pieces) {
        visitor = pieces;
        try {
            return lookup.find(keyGroup, identity, hash, key, keyLength, entries);
        } catch (IOException e) {
            throw unreadable(e);
        }
    }

    private SlimBaseException unreadable(IOException e) {
        return new SlimBaseException(
                SlimBaseException.Kind.Unavailable,
                "file of state cannot be read, path=`" + name + "`, cause=`" + e.getMessage() + "`",
                READ_HINT,
                e);
    }

    @Override
    public void willNeed(int keyGroup, int identity, long hash) {
        lookup.willNeed(keyGroup, identity, hash);
    }

    @Override
    public Cursor cursor(int keyGroup) {
        return FileWork.run("file of state cannot be read", name, READ_HINT, () -> new KeyGroupCursor(SegmentReader.open(place.open()), keyGroup, this::unreadable));
    }

    /** All entries that count, for another thread. */
    EntryCursor scan() throws IOException {
        return new EntryCursor(SegmentReader.open(place.openInOrder()), firstKeyGroup(), lastKeyGroup());
    }

    @Override
    public void writeTo(OutputStream out) throws IOException {
        byte[] buffer = new byte[COPY_BYTES];
        try (FileSource source = place.openInOrder()) {
            long left = source.length();
            for (long at = 0; left > 0; ) {
                int bytes = (int) Math.min(left, buffer.length);
                source.read(at, buffer, 0, bytes);
                out.write(buffer, 0, bytes);
                at += bytes;
                left -= bytes;
            }
        } catch (EOFException e) {
            throw new SlimBaseException(SlimBaseException.Kind.Corrupt, "file of state is cut off, path=`" + name + "`", READ_HINT, e);
        }
    }

    @Override
    public Object tag() {
        return tag;
    }

    @Override
    public AtomicInteger readers() {
        return readers;
    }

    @Override
    public void close(boolean delete) {
        closeQuietly(lookup);
        if (delete) {
            place.delete();
        }
    }

    private static void closeQuietly(Closeable closeable) {
        try {
            closeable.close();
        } catch (IOException e) {
            // What was only read loses nothing.
        }
    }
}
