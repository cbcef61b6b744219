package io.headrace.slimbase.engine;

import java.io.IOException;
import java.io.OutputStream;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A packed segment below memory, opened for lookups. Belongs to the task thread, but for {@link #cursor}, which any thread may ask for.
 *
 * <p>All reading throws {@link SlimBaseException}: {@code Corrupt} for bytes that do not fit, {@code Unavailable} when the storage does not answer.
 */
public interface ColdFile {
    /** Sees the pieces of a key's value in a file: a whole value or a tombstone first, if there is one, then what was chained to it. */
    @FunctionalInterface
    interface PieceVisitor {
        /** `flags`: 1 tombstone, 2 chained. The address holds for the call. */
        void piece(int flags, long value, int valueLength);
    }

    /** Goes through the entries of a key group in the file's order: by identity, hash and key, pieces of a key together. One thread. */
    interface Cursor extends AutoCloseable {
        /** Steps on; false at the end. What was handed out before does not hold any more. */
        boolean next();

        int identity();

        /** 1 tombstone, 2 chained. */
        int flags();

        long hash();

        long keyAddress();

        int keyLength();

        long valueAddress();

        int valueLength();

        @Override
        void close();
    }

    /** A number that nothing else of the engine has. Says nothing of age once files were merged. */
    long number();

    /** The segment's number that stands in the file: another one when a former engine wrote it. */
    long storedNumber();

    /** Length in bytes. */
    long bytes();

    /** What an entry of this identity that is no tombstone takes of the file, in the mean; 0 when there is none. */
    int meanEntryBytes(int identity);

    /** What its tombstones take of the file, about. */
    long tombstoneBytes();

    /** Bytes of memory that filter and block index take. */
    long memoryBytes();

    /** The first key group that the file has something of. */
    int firstKeyGroup();

    /** The last one; less than the first one when the file is empty. */
    int lastKeyGroup();

    /** Whether a key with this hash may be in the file; asks memory only. */
    boolean mayContain(long hash);

    /** Hands out the key's pieces in order; returns how many there are. */
    int find(int keyGroup, int identity, long hash, long key, int keyLength, PieceVisitor visitor);

    /** Prepares lookups in the background, if that has to be done yet. */
    default void openSoon() {}

    /** Gives back the memory that lookups need: none will come. Whoever reads the file otherwise goes on. */
    default void endLookups() {}

    /** Says that the key will be looked up soon, so that several reads can be under way at once. */
    void willNeed(int keyGroup, int identity, long hash);

    /** Entries of one key group. */
    Cursor cursor(int keyGroup);

    /** Copies the whole file; any thread. */
    void writeTo(OutputStream out) throws IOException;

    /** What the snapshot strategy has put here, e.g. the uploaded file; or null. */
    Object tag();

    /** How many snapshots have not read the file yet. */
    AtomicInteger readers();

    /** Closes the file; `delete`: nobody will read it again. */
    void close(boolean delete);
}
