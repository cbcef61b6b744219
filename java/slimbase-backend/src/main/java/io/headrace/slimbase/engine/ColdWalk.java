package io.headrace.slimbase.engine;

import java.util.ArrayList;
import java.util.List;

/**
 * The keys of a key group that are only in files, each once, with the value where the newest file has it whole. Task thread; nothing may be written
 * meanwhile.
 */
final class ColdWalk implements AutoCloseable {
    private final SlimEngine engine;
    private final int keyGroup;
    /** Newest first. */
    private final List<ColdFile.Cursor> cursors = new ArrayList<>();
    private final ScratchRecords scratch = new ScratchRecords();
    private long key;
    private int keyLength;
    private int identity;
    private long hash;

    ColdWalk(SlimEngine engine, int keyGroup, List<ColdFile> newestFirst) {
        this.engine = engine;
        this.keyGroup = keyGroup;
        try {
            for (ColdFile file : newestFirst) {
                ColdFile.Cursor cursor = file.cursor(keyGroup);
                if (cursor.next()) {
                    cursors.add(cursor);
                } else {
                    cursor.close();
                }
            }
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    /** The next key's record, or 0 at the end. It holds until the next call. */
    long next() {
        while (!cursors.isEmpty()) {
            ColdFile.Cursor newest = cursors.get(smallest());
            take(newest);
            boolean isWhole = newest.flags() == 0;
            boolean isGone = (newest.flags() & 1) != 0;
            long whole = isWhole ? copy(newest) : 0;
            boolean hasMore = skip(newest);
            skipOlder(newest);
            cursors.removeIf(this::isDone);
            if (engine.isInMemory(keyGroup, identity, key, keyLength)) {
                continue;
            }
            if (isWhole && !hasMore) {
                return whole;
            }
            long record = isGone && !hasMore ? 0 : engine.find(keyGroup, identity, key, keyLength);
            if (record != 0) {
                return record;
            }
        }
        return 0;
    }

    /** The newest one of those that stand at the smallest key. */
    private int smallest() {
        int best = 0;
        for (int i = 1; i < cursors.size(); i++) {
            if (compare(cursors.get(i), cursors.get(best)) < 0) {
                best = i;
            }
        }
        return best;
    }

    private static int compare(ColdFile.Cursor a, ColdFile.Cursor b) {
        int order = Integer.compare(a.identity(), b.identity());
        order = order != 0 ? order : Long.compareUnsigned(a.hash(), b.hash());
        return order != 0 ? order : Memory.compare(a.keyAddress(), a.keyLength(), b.keyAddress(), b.keyLength());
    }

    private void take(ColdFile.Cursor at) {
        identity = at.identity();
        hash = at.hash();
        keyLength = at.keyLength();
        key = key == 0 ? Memory.allocate(keyLength + 8L) : Memory.reallocate(key, keyLength + 8L);
        Memory.copy(at.keyAddress(), key, keyLength);
    }

    private long copy(ColdFile.Cursor at) {
        long record = scratch.take(Record.sizeOf(false, keyLength, at.valueLength()));
        long value = Record.write(record, Record.header(keyGroup, identity), 0, key, keyLength, at.valueLength());
        Memory.copy(at.valueAddress(), value, at.valueLength());
        return record;
    }

    private boolean isAtKey(ColdFile.Cursor cursor) {
        return cursor.identity() == identity
                && cursor.hash() == hash
                && cursor.keyLength() == keyLength
                && Memory.equal(cursor.keyAddress(), key, keyLength);
    }

    /** Goes over the key's entries; true when there were several. */
    private boolean skip(ColdFile.Cursor cursor) {
        boolean several = false;
        while (cursor.next()) {
            if (!isAtKey(cursor)) {
                return several;
            }
            several = true;
        }
        done.add(cursor);
        return several;
    }

    private final List<ColdFile.Cursor> done = new ArrayList<>();

    private boolean isDone(ColdFile.Cursor cursor) {
        if (done.remove(cursor)) {
            cursor.close();
            return true;
        }
        return false;
    }

    private void skipOlder(ColdFile.Cursor newest) {
        for (ColdFile.Cursor cursor : cursors) {
            if (cursor != newest && isAtKey(cursor)) {
                skip(cursor);
            }
        }
    }

    @Override
    public void close() {
        cursors.forEach(ColdFile.Cursor::close);
        cursors.clear();
        scratch.close();
        if (key != 0) {
            Memory.free(key);
            key = 0;
        }
    }
}
