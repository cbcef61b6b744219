package io.headrace.slimbase.engine;

import java.util.List;
import java.util.concurrent.Future;
import java.util.function.LongSupplier;

/** Where the engine puts segments that memory has no room for. Works in the background. */
public interface ColdStore extends AutoCloseable {
    /** Packs a sealed segment, pinned by the caller until the future is done, into a file and opens it. */
    Future<ColdFile> pack(SegmentView segment);

    /**
     * Merges files, given oldest first, into as few as they need.
     *
     * @param witnesses newer files, oldest first, which stay: what they supersede is left out
     * @param oldest whether nothing older than these is left: tombstones go, and expired values with them
     * @param numbers gives the numbers of the new files
     */
    Future<List<ColdFile>> merge(List<ColdFile> files, List<ColdFile> witnesses, boolean oldest, LongSupplier numbers);

    /** How fast merges should go from now on: bytes a second, read and written, infinite for as fast as they can. Other stores of the disk share it. */
    void mergeRate(double bytesPerS);

    /**
     * Whether nothing that the file has is wanted any more, provided that nothing older is left which its entries hide. Task thread; reads nothing.
     */
    boolean hasExpired(ColdFile file);

    /** Ends what is under way and waits for it; false when it did not end in time, and may still read memory. Files that engines hold are theirs to close. */
    boolean end();

    /** Gives up what the store itself holds, once all files are closed. */
    @Override
    void close();
}
