package io.headrace.slimbase.file;

import java.io.Closeable;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/**
 * Several cursors as one stream, ordered like a file: of each key only what counts, which is the newest whole value or tombstone and the chained
 * pieces after it. What is superseded is skipped and counted. One thread.
 *
 * <p>In a file a key's whole value or tombstone comes first, so the first entry of each cursor tells whether older cursors count.
 */
public final class MergedEntries implements Closeable {
    /** Cursors that are not at their end, oldest first, each at the first entry of a key that was not handed out. */
    private final List<EntryCursor> live = new ArrayList<>();

    private final List<EntryCursor> all;
    /** Cursors that have the current key and count, oldest first. */
    private final List<EntryCursor> members = new ArrayList<>();

    private int member;
    private boolean isStarted;
    private boolean startsKey;
    private EntryCursor current;
    private long entriesRead;
    private long superseded;
    private boolean isClosed;

    /** Takes the cursors over; they are closed with it. */
    public MergedEntries(List<EntryCursor> oldestFirst) {
        all = List.copyOf(oldestFirst);
    }

    /** Goes to the next entry; false at the end. */
    public boolean next() throws IOException {
        if (!isStarted) {
            isStarted = true;
            for (EntryCursor cursor : all) {
                if (advance(cursor)) {
                    live.add(cursor);
                }
            }
        } else if (current == null) {
            return false;
        } else if (goOn()) {
            startsKey = false;
            return true;
        }
        startsKey = true;
        return select();
    }

    private boolean advance(EntryCursor cursor) throws IOException {
        boolean hasNext = cursor.next();
        entriesRead += hasNext ? 1 : 0;
        return hasNext;
    }

    /** The current key's next entry: the same cursor's, or the first of the next newer one. */
    private boolean goOn() throws IOException {
        if (!advance(current)) {
            live.remove(current);
        } else if (current.isContinued()) {
            if ((current.flags() & FileFormat.ENTRY_CHAINED) == 0) {
                throw Corruption.corrupt(
                        "whole value after another entry of its key", current.name(), "key_group=" + current.keyGroup());
            }
            return true;
        }
        member++;
        current = member < members.size() ? members.get(member) : null;
        return current != null;
    }

    /** Finds the smallest key, and the cursors of it that count. */
    private boolean select() throws IOException {
        members.clear();
        member = 0;
        for (EntryCursor cursor : live) {
            int order = members.isEmpty() ? 0 : cursor.compareKey(members.get(0));
            if (order < 0) {
                members.clear();
            }
            if (order <= 0) {
                members.add(cursor);
            }
        }
        if (members.isEmpty()) {
            current = null;
            return false;
        }
        int base = members.size() - 1;
        while (base > 0 && (members.get(base).flags() & FileFormat.ENTRY_CHAINED) != 0) {
            base--;
        }
        for (int i = 0; i < base; i++) {
            skip(members.get(i));
        }
        members.subList(0, base).clear();
        current = members.get(0);
        return true;
    }

    private void skip(EntryCursor cursor) throws IOException {
        do {
            superseded++;
            if (!advance(cursor)) {
                live.remove(cursor);
                return;
            }
        } while (cursor.isContinued());
    }

    /** Whether the entry is the first of its key. */
    public boolean startsKey() {
        return startsKey;
    }

    public int keyGroup() {
        return current.keyGroup();
    }

    /** State id times two, plus one for an auxiliary record. */
    public int identity() {
        return current.identity();
    }

    /** 1: tombstone, 2: chained. */
    public int flags() {
        return current.flags();
    }

    /** Hash of the key. */
    public long hash() {
        return current.hash();
    }

    /** Holds until the next entry. */
    public long keyAddress() {
        return current.keyAddress();
    }

    public int keyLength() {
        return current.keyLength();
    }

    /** Holds until the next entry. */
    public long valueAddress() {
        return current.valueAddress();
    }

    public int valueLength() {
        return current.valueLength();
    }

    /** Entries read so far, those that were skipped too. */
    public long entriesRead() {
        return entriesRead;
    }

    /** Entries skipped so far, because a newer one takes their place. */
    public long superseded() {
        return superseded;
    }

    /** Stored bytes read so far. */
    public long bytesRead() {
        return all.stream().mapToLong(EntryCursor::bytesRead).sum();
    }

    @Override
    public void close() throws IOException {
        if (isClosed) {
            return;
        }
        isClosed = true;
        IOException failure = null;
        for (EntryCursor cursor : all) {
            try {
                cursor.close();
            } catch (IOException e) {
                failure = e;
            }
        }
        if (failure != null) {
            throw failure;
        }
    }
}
