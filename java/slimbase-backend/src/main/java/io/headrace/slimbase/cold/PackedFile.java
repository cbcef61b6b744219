package io.headrace.slimbase.cold;

import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.engine.KeyGroupSpan;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.file.AccessTimes;
import io.headrace.slimbase.file.CheckedCopy;
import io.headrace.slimbase.file.EntryCursor;
import io.headrace.slimbase.file.EntryVisitor;
import io.headrace.slimbase.file.FileSource;
import io.headrace.slimbase.file.LookupBuffers;
import io.headrace.slimbase.file.LookupFile;
import io.headrace.slimbase.file.MergeResult;
import io.headrace.slimbase.file.SegmentReader;
import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.NoSuchFileException;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A packed segment somewhere, opened for the engine's lookups. */
final class PackedFile implements ColdFile {
    private static final Logger LOG = LoggerFactory.getLogger(PackedFile.class);
    /** Of an entry without value: 4 and a key of a dozen bytes. */
    private static final int TOMBSTONE_BYTES = 16;

    private static final String READ_HINT = "look at the disk or checkpoint storage; the job restarts from its last checkpoint";

    /** Where the file is: opened again for each reader besides the task thread. */
    interface Place {
        /** For reading here and there. */
        FileSource open() throws IOException;

        /** For reading most of it once, from front to back: what is read is not kept. */
        default FileSource openInOrder() throws IOException {
            return open();
        }

        /** Whether opening or reading failed because there is no such file. */
        default boolean isMissing(Exception failure) {
            return failure instanceof NoSuchFileException;
        }

        /** The file is not wanted any more. */
        void delete();
    }

    private volatile Place place;
    private final long number;
    private final LookupBuffers buffers;
    private final Origin origin;
    private final Known known;
    /** Null until it is needed. */
    private volatile LookupFile lookup;
    /** Of a file that was not asked to open soon. Task thread. */
    private Executor opener;

    private boolean isClosed;
    /** No lookups will come. */
    private boolean isLeft;
    private final AtomicInteger readers = new AtomicInteger();
    /** Turns the entries of a lookup into pieces; set for the time of one. */
    private PieceVisitor visitor;

    private final EntryVisitor entries =
            (keyGroup, identity, flags, key, keyLength, value, valueLength) -> visitor.piece(flags, value, valueLength);

    private PackedFile(Place place, long number, LookupBuffers buffers, Origin origin, Known known, LookupFile lookup) {
        this.place = place;
        this.number = number;
        this.buffers = buffers;
        this.origin = origin;
        this.known = known;
        this.lookup = lookup;
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

    /** What is told of the file without asking it, and stays. */
    private static final class Known {
        final String name;
        final long bytes;
        final long memoryBytes;
        final long segmentNumber;
        final int firstKeyGroup;
        final int lastKeyGroup;

        Known(String name, long bytes, long memoryBytes, long segmentNumber, int firstKeyGroup, int lastKeyGroup) {
            this.name = name;
            this.bytes = bytes;
            this.memoryBytes = memoryBytes;
            this.segmentNumber = segmentNumber;
            this.firstKeyGroup = firstKeyGroup;
            this.lastKeyGroup = lastKeyGroup;
        }
    }

    /** Opens the file. */
    static PackedFile open(Place place, long number, LookupBuffers buffers, Origin origin) throws IOException {
        LookupFile lookup = LookupFile.open(place.open(), buffers);
        KeyGroupSpan span = origin.span;
        Known known =
                new Known(
                        lookup.name(),
                        lookup.length(),
                        lookup.memoryBytes(),
                        lookup.segmentNumber(),
                        Math.max(span.first(), lookup.firstKeyGroup()),
                        Math.min(span.first() + span.count() - 1, lookup.lastKeyGroup()));
        return new PackedFile(place, number, buffers, origin, known, lookup);
    }

    /**
     * Opens the file when it is asked for a key, or by {@link #openAhead}, so that hundreds of files are there at once. Until then its key groups are those that count.
     *
     * @param opener runs what opens the file before it is needed
     */
    static PackedFile openLater(RestoredPlace place, long number, LookupBuffers buffers, Origin origin, StatedFile stated, Executor opener)
            throws IOException {
        KeyGroupSpan span = origin.span;
        int last = span.first() + span.count() - 1;
        long indexBytes = stated.indexBytes > 0 ? stated.indexBytes : askIndexBytes(place);
        Known known = new Known(place.name(), stated.bytes, indexBytes, stated.segmentNumber, span.first(), last);
        PackedFile file = new PackedFile(place, number, buffers, origin, known, null);
        file.opener = opener;
        return file;
    }

    /**
     * A file that a merge has made. It is opened when it takes the place of those that it was made of, and not before: the indexes of both, where all
     * was merged, would be most of the memory.
     *
     * @param opener runs what opens the file before it is needed
     */
    static PackedFile merged(Place place, MergeResult.Output made, LookupBuffers buffers, Executor opener) {
        long number = made.segmentNumber();
        Known known =
                new Known(made.path().toString(), made.bytes(), made.indexBytes(), number, made.firstKeyGroup(), made.lastKeyGroup());
        PackedFile file = new PackedFile(place, number, buffers, new Origin(null, Origin.ALL), known, null);
        file.opener = opener;
        return file;
    }

    private static long askIndexBytes(Place place) throws IOException {
        try (FileSource source = place.open()) {
            return LookupFile.memoryBytesOf(source);
        }
    }

    @Override
    public void openSoon() {
        Executor executor = opener;
        if (lookup == null && executor != null) {
            opener = null;
            try {
                executor.execute(this::openAhead);
            } catch (RejectedExecutionException e) {
                // The store is at its end.
            }
        }
    }

    /** Reads filter and index, if they were not read yet, so that lookups, which come soon, do not have to. Any thread. */
    void openAhead() {
        try {
            synchronized (this) {
                if (!isLeft && !isClosed) {
                    readIndex();
                }
            }
        } catch (RuntimeException e) {
            // Whoever looks something up will meet it.
            LOG.debug("file of state could not be opened ahead, path=`{}`", known.name, e);
        }
    }

    @Override
    public synchronized void endLookups() {
        isLeft = true;
        if (lookup != null) {
            closeQuietly(lookup);
            lookup = null;
        }
    }

    private LookupFile lookup() {
        LookupFile opened = lookup;
        return opened != null ? opened : readIndex();
    }

    private synchronized LookupFile readIndex() {
        if (lookup != null) {
            return lookup;
        }
        if (isClosed) {
            throw new IllegalStateException("file is closed, path=`" + known.name + "`");
        }
        LookupFile opened;
        try {
            opened = LookupFile.open(open(false), buffers);
        } catch (IOException e) {
            throw unreadable(e);
        } catch (SlimBaseException e) {
            throw place.isMissing(e) ? missing(e) : e;
        }
        if (opened.segmentNumber() != known.segmentNumber) {
            closeQuietly(opened);
            throw new SlimBaseException(
                    SlimBaseException.Kind.Corrupt,
                    "file is another segment's, file=`" + known.name + "`, segment=" + opened.segmentNumber()
                            + ", expected_segment=" + known.segmentNumber,
                    "restore an older checkpoint",
                    null);
        }
        lookup = opened;
        return opened;
    }

    /**
     * Lets a checkpoint's file of the same segment take its place, and deletes this one where it was. Who reads it at the moment reads on. That file was written on its
     * own, without what had expired by then, so its blocks lie elsewhere: its index is read anew. Task thread.
     */
    synchronized void moveTo(Place other) {
        Place former = place;
        place = other;
        if (lookup != null) {
            closeQuietly(lookup);
            lookup = null;
        }
        former.delete();
    }

    /** Opens the file where it lies by then; any thread. */
    private FileSource open(boolean inOrder) throws IOException {
        while (true) {
            Place now = place;
            try {
                return inOrder ? now.openInOrder() : now.open();
            } catch (NoSuchFileException e) {
                if (now == place) {
                    throw e;
                }
            }
        }
    }

    @Override
    public long number() {
        return number;
    }

    @Override
    public long storedNumber() {
        return known.segmentNumber;
    }

    @Override
    public long bytes() {
        return known.bytes;
    }

    @Override
    public int meanEntryBytes(int identity) {
        LookupFile opened = lookup;
        if (opened == null) {
            return 0; // An estimate may lack what is not open yet.
        }
        long raw = 0;
        long mean = 0;
        for (long[] row : opened.statistics()) {
            raw += row[4];
            if (row[0] * 2 + row[1] == identity && row[3] > row[2]) {
                // Tombstones are small: what they have is counted with the others.
                mean = row[4] / (row[3] - row[2]);
            }
        }
        return raw == 0 ? 0 : (int) ((double) mean * opened.length() / raw);
    }

    @Override
    public long tombstoneBytes() {
        LookupFile opened = lookup;
        long tombstones = 0;
        for (long[] row : opened == null ? new long[0][] : opened.statistics()) {
            tombstones += row[2];
        }
        return Math.min(bytes(), tombstones * TOMBSTONE_BYTES);
    }

    @Override
    public long memoryBytes() {
        return known.memoryBytes;
    }

    @Override
    public int firstKeyGroup() {
        return known.firstKeyGroup;
    }

    @Override
    public int lastKeyGroup() {
        return known.lastKeyGroup;
    }

    @Override
    public boolean mayContain(long hash) {
        return lookup().mayContain(hash);
    }

    @Override
    public int find(int keyGroup, int identity, long hash, long key, int keyLength, PieceVisitor pieces) {
        visitor = pieces;
        try {
            return lookup().find(keyGroup, identity, hash, key, keyLength, entries);
        } catch (IOException e) {
            throw unreadable(e);
        }
    }

    private SlimBaseException unreadable(IOException e) {
        if (place.isMissing(e)) {
            return missing(e);
        }
        return new SlimBaseException(
                SlimBaseException.Kind.Unavailable,
                "file of state cannot be read, path=`" + known.name + "`, cause=`" + e.getMessage() + "`",
                READ_HINT,
                e);
    }

    private SlimBaseException missing(Exception e) {
        return new SlimBaseException(
                SlimBaseException.Kind.Corrupt, "file is missing, file=`" + known.name + "`", "restore an older checkpoint", e);
    }

    @Override
    public void willNeed(int keyGroup, int identity, long hash) {
        lookup().willNeed(keyGroup, identity, hash);
    }

    @Override
    public Cursor cursor(int keyGroup) {
        return FileWork.run("file of state cannot be read", known.name, READ_HINT, () -> new KeyGroupCursor(SegmentReader.open(open(false)), keyGroup, this::unreadable));
    }

    /** All entries that count, for another thread. */
    EntryCursor scan() throws IOException {
        return new EntryCursor(SegmentReader.open(open(true)), firstKeyGroup(), lastKeyGroup());
    }

    /** Whether all that the file has is older than it is wanted, tombstones not counted: they only hide what is older than the file. */
    boolean hasExpired(Expiry expiry) {
        LookupFile opened = lookup;
        if (opened == null) {
            // Asked again later; soon it will be open.
            return false;
        }
        for (long[] row : opened.statistics()) {
            long latest = row[5];
            if (latest != AccessTimes.NEVER && (latest == AccessTimes.ALWAYS || !expiry.isExpired((int) row[0], latest))) {
                return false;
            }
        }
        return true;
    }

    @Override
    public void writeTo(OutputStream out) throws IOException {
        try (FileSource source = open(true)) {
            new CheckedCopy(source, () -> true).to(out);
        }
    }

    @Override
    public Object tag() {
        return origin.tag;
    }

    @Override
    public AtomicInteger readers() {
        return readers;
    }

    @Override
    public synchronized void close(boolean delete) {
        isClosed = true;
        if (lookup != null) {
            closeQuietly(lookup);
        }
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
