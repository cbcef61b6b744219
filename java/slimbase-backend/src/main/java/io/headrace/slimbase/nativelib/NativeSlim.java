package io.headrace.slimbase.nativelib;

/**
 * The entries of the native library (crates/slimbase-jni). Call them only when {@link NativeLibrary#isAvailable()}.
 *
 * <p>Errors arrive as {@link io.headrace.slimbase.engine.SlimBaseException}; a panic of the library as its kind {@code Internal}.
 */
public final class NativeSlim {
    private NativeSlim() {}

    /** Version of this interface that the library was built for. */
    public static native int abi();

    /** Zeroed memory, aligned to 64 bytes at least; 0 when the machine refuses. */
    public static native long alloc(long bytes, boolean hugePages);

    /** Gives memory of {@link #alloc} back; the same size. */
    public static native void free(long address, long bytes);

    /** Lets the machine back the memory with pages now. */
    public static native void prefault(long address, long bytes);

    /**
     * Looks up a batch of keys.
     *
     * @param keys address of `count` times (u32 key group, u32 key length, u64 key address)
     * @param results address of `count` u64, filled with the records' addresses, 0 when absent
     * @return how many were found
     */
    public static native int mget(long controlBlock, int identity, long keys, int count, long results);

    /**
     * Packs the chunks of a sealed segment into a file.
     *
     * @param chunks address of `count` times (u64 address, u64 used bytes), in the order of the log
     * @param path of the file in UTF-8; it must not exist
     * @return length of the file
     */
    public static native long pack(long chunks, int count, long segmentNumber, byte[] path);

    /**
     * Reads a whole file and checks everything.
     *
     * @return the number of entries
     */
    public static native long verifyFile(byte[] path);

    /**
     * Opens a file for {@link #hintWillNeed}.
     *
     * @param path in UTF-8
     * @return a descriptor, for {@link #hintClose}
     */
    public static native int hintOpen(byte[] path);

    /** Tells the machine that bytes of the file will be read soon; the page cache fetches them meanwhile. Never fails: it is a hint. */
    public static native void hintWillNeed(int descriptor, long position, long bytes);

    /** Closes what {@link #hintOpen} gave, once. */
    public static native void hintClose(int descriptor);

    /** Panics, so that a test can see it arrive as an exception. */
    public static native void panicForTest();
}
