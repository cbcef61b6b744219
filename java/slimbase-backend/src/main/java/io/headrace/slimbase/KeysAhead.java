package io.headrace.slimbase;

import io.headrace.slimbase.engine.KeyHash;
import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.nativelib.NativeSlim;
import java.util.Arrays;

/**
 * Brings the records of a mini-batch into the cache before they are read one by one.
 *
 * <p>Flink's bundle operators set the key of each input record but touch no state until the bundle is full; then they set its keys again, in the
 * order of a {@link java.util.HashMap}, and read and write each one's state. So: (1) keys that are set without state being touched are gathered, each
 * once. (2) When a state is touched for the first time after such a run, they are put into the order in which such a map goes through its keys,
 * which follows from their hash codes and the map's capacity, and that from the most keys there ever were. (3) One native call after the other looks a lot
 * of them up, its cache misses overlapping; what it finds is forgotten. The next lot follows when as many keys have been set.
 *
 * <p>This is only a hint: no result depends on it. When the key at which a lot is due lies elsewhere in the order, the map must be larger than thought: the
 * rest of the run is left alone and the next one reckons with twice the capacity. When hardly any keys are set after a lookup (an operator that seldom
 * needs its state), the following runs are left alone, twice as many each time. Namespaces are not guessed, so windows get nothing. What it gains:
 * bench/NOTES.md.
 */
final class KeysAhead implements AutoCloseable {
    /** Keys set without touching state before they are worth gathering: other operators touch it after one. */
    static final int LEAST = 16;
    /** At most; 2 MiB outside the heap, once a bundle was seen, and 0.4 MiB on it. Flink's examples have bundles of 5,000 records. */
    static final int KEYS_MAX = 16_384;
    /** Keys looked up together: 0.2 MiB of slots and records, so that they are still in a core's second-level cache when they are read. */
    static final int LOT = 1_024;

    static final long NEVER = Long.MAX_VALUE;

    /** Of key bytes, 64 each. */
    private static final int BYTES_MAX = KEYS_MAX * 64;
    private static final int ENTRY = 16;
    /** Lookups of one native call, which stops a garbage collection only so long (about 30 us). */
    private static final int CALL = 512;
    /** A guess is bad when not even this share of the keys was set again. */
    private static final int USED_SHARE = 4;
    private static final int RUNS_LEFT_ALONE_MAX = 1_024;
    /** A map's capacity at first, and the greatest to reckon with. */
    private static final int CAPACITY_FIRST = 16;
    private static final int CAPACITY_MAX = 1 << 20;
    /** The key at a lot's begin may lie off by this share of the order. */
    private static final int DRIFT_SHARE = 8;

    private final SlimEngine engine;
    /** The keys' hashes, by their low bits: a key that is there again is not gathered again. */
    private int[] seen;
    /** Of each key gathered: its hash code, spread as the map does. */
    private int[] spread;
    /** Keys in the map's order: what they were gathered as, below their place in the map. */
    private long[] order;
    private long keyBytes;
    private long gathered;
    private long lot;
    private long results;
    private int used;
    private int count;
    private int run;
    private boolean isGathering;
    private boolean started;
    private int lotFrom;
    private int lotTo;
    private int capacity = CAPACITY_FIRST;
    private long versionAtStart;
    private int leaveAlone;
    private int penalty;
    private boolean off;

    KeysAhead(SlimEngine engine) {
        this.engine = engine;
    }

    /** Switches fetching off and on again, to measure what it gives. */
    void setOff(boolean isOff) {
        off = isOff;
    }

    /** Changes when there are keys to fetch: a state that sees a new one calls {@link #fetch}. */
    int run() {
        return run;
    }

    /** How many keys have been looked up in this run, for each state. */
    int fetched() {
        return started ? lotTo : 0;
    }

    /** A run begins; `version` counts the keys set so far. */
    void begin(long version) {
        if (started) {
            boolean wasUsed = (version - versionAtStart - LEAST) * USED_SHARE >= lotTo;
            penalty = wasUsed ? 0 : Math.min(Math.max(1, penalty * 2), RUNS_LEFT_ALONE_MAX);
            leaveAlone = penalty;
            started = false;
        }
        count = 0;
        used = 0;
        isGathering = !off && leaveAlone == 0;
        if (!isGathering) {
            leaveAlone = Math.max(0, leaveAlone - 1);
            return;
        }
        if (keyBytes == 0) {
            allocate();
        }
        run++;
    }

    private void allocate() {
        keyBytes = Memory.allocate(BYTES_MAX);
        gathered = Memory.allocate((long) KEYS_MAX * ENTRY);
        lot = Memory.allocate((long) LOT * ENTRY);
        results = Memory.allocate((long) CALL * Long.BYTES);
        seen = new int[KEYS_MAX * 2];
        spread = new int[KEYS_MAX];
        order = new long[KEYS_MAX];
    }

    /** Gathers a key of the run, while there is room; Flink has checked that its key group is one of ours. */
    void add(long key, int keyLength, int keyGroup, int hashCode) {
        if (!isGathering || count == KEYS_MAX || used + keyLength > BYTES_MAX) {
            return;
        }
        int hash = (int) (KeyHash.hash(run, key, keyLength) >>> 32);
        int place = hash & seen.length - 1;
        if (seen[place] == hash) {
            return;
        }
        seen[place] = hash;
        long to = keyBytes + used;
        Memory.copy(key, to, keyLength);
        used += keyLength;
        long entry = gathered + (long) count * ENTRY;
        Memory.putInt(entry, keyGroup);
        Memory.putInt(entry + 4, keyLength);
        Memory.putLong(entry + 8, to);
        spread[count] = spread(hashCode);
        count++;
    }

    /** As {@link java.util.HashMap} does. */
    private static int spread(int hashCode) {
        return hashCode ^ hashCode >>> 16;
    }

    /** Looks up the lot that is due in a state, the first one when none was; nothing may be writing to the engine. Returns the version at which the next one is. */
    long fetch(int identity, long version) {
        if (!started) {
            started = true;
            versionAtStart = version;
            sort();
            lotFrom = 0;
            chooseLot();
        }
        for (int from = lotFrom; from < lotTo; from += CALL) {
            long entries = lot + (long) (from - lotFrom) * ENTRY;
            int keys = Math.min(CALL, lotTo - from);
            NativeSlim.mget(engine.controlBlock(), identity, entries, keys, results);
            if (engine.hasFiles()) {
                fetchFromFiles(identity, entries, keys);
            }
        }
        return nextLotAt();
    }

    /** Lets the disk work on all keys of the call that memory has not. */
    private void fetchFromFiles(int identity, long entries, int keys) {
        for (int i = 0; i < keys; i++) {
            if (Memory.getLong(results + (long) i * Long.BYTES) == 0) {
                long entry = entries + (long) i * ENTRY;
                engine.willNeed(Memory.getInt(entry), identity, Memory.getLong(entry + 8), Memory.getInt(entry + 4));
            }
        }
    }

    private long nextLotAt() {
        return lotTo < count ? versionAtStart + lotTo : NEVER;
    }

    /** Called at the version that {@link #fetch} gave: the next lot is due. Returns the version of the one after it. */
    long advance(int hashCode) {
        int expected = (int) (order[lotTo] >>> 32);
        int found = spread(hashCode) & capacity - 1;
        if (Math.abs(found - expected) > capacity / DRIFT_SHARE) {
            capacity = capacity == CAPACITY_MAX ? CAPACITY_FIRST : capacity * 2;
            return NEVER;
        }
        lotFrom = lotTo;
        chooseLot();
        run++;
        return nextLotAt();
    }

    private void sort() {
        // The map grows when it is more than three quarters full, and never shrinks.
        while (capacity < CAPACITY_MAX && capacity * 3L < count * 4L) {
            capacity *= 2;
        }
        for (int i = 0; i < count; i++) {
            order[i] = (long) (spread[i] & capacity - 1) << 32 | i;
        }
        if (count > LOT) {
            Arrays.sort(order, 0, count);
        }
    }

    private void chooseLot() {
        lotTo = Math.min(count, lotFrom + LOT);
        for (int i = lotFrom; i < lotTo; i++) {
            Memory.copy(gathered + (int) order[i] * (long) ENTRY, lot + (long) (i - lotFrom) * ENTRY, ENTRY);
        }
    }

    @Override
    public void close() {
        if (keyBytes != 0) {
            Memory.free(keyBytes);
            Memory.free(gathered);
            Memory.free(lot);
            Memory.free(results);
            keyBytes = 0;
            count = 0;
        }
    }
}
