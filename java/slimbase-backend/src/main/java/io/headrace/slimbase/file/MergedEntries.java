package io.headrace.slimbase.file;

import java.io.Closeable;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Several cursors as one stream, ordered like a file: of each key only what counts, which is the newest whole value or tombstone and the chained
 * pieces after it. What is superseded is skipped and counted. One thread.
 *
 * <p>Of the newest cursors some may be witnesses: what they have is not handed out, but what it supersedes is left out.
 *
 * <p>In a file a key's whole value or tombstone comes first, so the first entry of each cursor tells whether older cursors count. A cursor is begun when
 * the stream comes to its first key group and closed at its end: a run of a hundred files holds the buffers of one.
 */
public final class MergedEntries implements Closeable {
    /** Cursors that are not at their end, oldest first, each at the first entry of a key that was not handed out. */
    private final List<EntryCursor> live = new ArrayList<>();

    private final List<EntryCursor> all;
    private final List<EntryCursor> witnesses;
    /** Cursors that were not begun, by their first key group. */
    private final ArrayDeque<EntryCursor> waiting;

    /** First key group of the next waiting cursor; the largest integer when none waits. */
    private int nextBegin;

    /** Cursors that have the current key and count, oldest first. */
    private final List<EntryCursor> members = new ArrayList<>();

    private int member;
    private boolean startsKey;
    private EntryCursor current;
    private long entriesRead;
    private long superseded;
    private boolean isClosed;

    /** Takes the cursors over; they are closed with it. */
    public MergedEntries(List<EntryCursor> oldestFirst) {
        this(oldestFirst, List.of());
    }

    /** Takes the cursors over. Witnesses, oldest first too, are newer than the others. */
    public MergedEntries(List<EntryCursor> oldestFirst, List<EntryCursor> witnesses) {
        this.witnesses = List.copyOf(witnesses);
        all = new ArrayList<>(oldestFirst);
        all.addAll(witnesses);
        List<EntryCursor> sorted = new ArrayList<>(all);
        sorted.sort(Comparator.comparingInt(EntryCursor::firstKeyGroup));
        waiting = new ArrayDeque<>(sorted);
        noteNextBegin();
    }

    private void noteNextBegin() {
        nextBegin = waiting.isEmpty() ? Integer.MAX_VALUE : waiting.peek().firstKeyGroup();
    }

    /** Goes to the next entry; false at the end. */
    public boolean next() throws IOException {
        if (current != null && goOn()) {
            startsKey = false;
            return true;
        }
        startsKey = true;
        return select();
    }

    /** Steps on; at its end the cursor is closed. */
    private boolean advance(EntryCursor cursor) throws IOException {
        if (cursor.next()) {
            entriesRead++;
            return true;
        }
        cursor.close();
        return false;
    }

    private void beginNext() throws IOException {
        EntryCursor cursor = waiting.poll();
        noteNextBegin();
        if (advance(cursor)) {
            int age = all.indexOf(cursor);
            int at = live.size();
            while (at > 0 && all.indexOf(live.get(at - 1)) > age) {
                at--;
            }
            live.add(at, cursor);
        }
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

    /** Finds the smallest key of which there is something to hand out, and the cursors of it that count. */
    private boolean select() throws IOException {
        while (gather()) {
            dropSuperseded();
            while (!members.isEmpty() && witnesses.contains(members.get(members.size() - 1))) {
                pass(members.remove(members.size() - 1));
            }
            if (!members.isEmpty()) {
                current = members.get(0);
                return true;
            }
        }
        current = null;
        return false;
    }

    /** Finds the smallest key and all cursors that have it. */
    private boolean gather() throws IOException {
        member = 0;
        findSmallest();
        while (!waiting.isEmpty() && (members.isEmpty() || members.get(0).keyGroup() >= nextBegin)) {
            beginNext();
            findSmallest();
        }
        return !members.isEmpty();
    }

    private void dropSuperseded() throws IOException {
        int base = members.size() - 1;
        while (base > 0 && (members.get(base).flags() & FileFormat.ENTRY_CHAINED) != 0) {
            base--;
        }
        for (int i = 0; i < base; i++) {
            skip(members.get(i));
        }
        members.subList(0, base).clear();
    }

    private void findSmallest() {
        members.clear();
        for (EntryCursor cursor : live) {
            int order = members.isEmpty() ? 0 : cursor.compareKey(members.get(0));
            if (order < 0) {
                members.clear();
            }
            if (order <= 0) {
                members.add(cursor);
            }
        }
    }

    private void skip(EntryCursor cursor) throws IOException {
        superseded += pass(cursor);
    }

    /** Goes over the key's entries; returns how many there were. */
    private int pass(EntryCursor cursor) throws IOException {
        int passed = 0;
        do {
            passed++;
            if (!advance(cursor)) {
                live.remove(cursor);
                return passed;
            }
        } while (cursor.isContinued());
        return passed;
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
