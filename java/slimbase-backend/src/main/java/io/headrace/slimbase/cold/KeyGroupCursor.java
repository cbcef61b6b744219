package io.headrace.slimbase.cold;

import io.headrace.slimbase.engine.ColdFile;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.file.EntryCursor;
import io.headrace.slimbase.file.SegmentReader;
import java.io.IOException;
import java.util.function.Function;

/** A file's entries of one key group, as the engine walks them. */
final class KeyGroupCursor implements ColdFile.Cursor {
    private final EntryCursor entries;
    private final Function<IOException, SlimBaseException> failure;

    /** `failure` says what went wrong in reading. The reader is closed with the cursor. */
    KeyGroupCursor(SegmentReader reader, int keyGroup, Function<IOException, SlimBaseException> failure) {
        this.entries = new EntryCursor(reader, keyGroup, keyGroup);
        this.failure = failure;
    }

    @Override
    public boolean next() {
        try {
            return entries.next();
        } catch (IOException e) {
            throw failure.apply(e);
        }
    }

    @Override
    public int identity() {
        return entries.identity();
    }

    @Override
    public int flags() {
        return entries.flags();
    }

    @Override
    public long hash() {
        return entries.hash();
    }

    @Override
    public long keyAddress() {
        return entries.keyAddress();
    }

    @Override
    public int keyLength() {
        return entries.keyLength();
    }

    @Override
    public long valueAddress() {
        return entries.valueAddress();
    }

    @Override
    public int valueLength() {
        return entries.valueLength();
    }

    @Override
    public void close() {
        try {
            entries.close();
        } catch (IOException e) {
            throw failure.apply(e);
        }
    }
}
