package io.headrace.slimbase.file;

import java.io.Closeable;

/** One stored and one raw block, for the lookups of one thread in any number of files. */
public final class LookupBuffers implements Closeable {
    final DirectScratch stored = new DirectScratch();
    final BlockDecoder decoder = new BlockDecoder();

    @Override
    public void close() {
        stored.close();
        decoder.close();
    }
}
