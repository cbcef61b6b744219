package io.headrace.slimbase.engine;

/**
 * Records that were read from files: the newest few stay where they are, as lookups promise until the next writing call. No caller holds more
 * than a map's root and some pages at once.
 */
final class ScratchRecords {
    private static final int SMALL_SLOTS = 64;
    private static final int LARGE_SLOTS = 4;
    /** Records above have few places, so that values of megabytes do not gather. */
    private static final long SMALL_BYTES = 32 << 10;

    private final long[] addresses = new long[SMALL_SLOTS + LARGE_SLOTS];
    private final long[] capacities = new long[SMALL_SLOTS + LARGE_SLOTS];
    private int nextSmall;
    private int nextLarge;

    /** Memory for a record of that size; the contents of the oldest one are gone. */
    long take(long bytes) {
        int slot;
        if (bytes <= SMALL_BYTES) {
            slot = nextSmall;
            nextSmall = (nextSmall + 1) % SMALL_SLOTS;
        } else {
            slot = SMALL_SLOTS + nextLarge;
            nextLarge = (nextLarge + 1) % LARGE_SLOTS;
        }
        if (capacities[slot] < bytes || capacities[slot] > 2 * Math.max(bytes, SMALL_BYTES)) {
            if (addresses[slot] != 0) {
                Memory.free(addresses[slot]);
            }
            capacities[slot] = Math.max(512, bytes + bytes / 4);
            addresses[slot] = Memory.allocate(capacities[slot]);
        }
        return addresses[slot];
    }

    void close() {
        for (int i = 0; i < addresses.length; i++) {
            if (addresses[i] != 0) {
                Memory.free(addresses[i]);
                addresses[i] = 0;
                capacities[i] = 0;
            }
        }
    }
}
