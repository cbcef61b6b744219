package io.headrace.slimbase.engine;

import java.util.function.BooleanSupplier;

/**
 * Lookups and writes of single records: the part of {@link SlimEngine} that knows the index, the log's end and the files, and where the last lookup ended.
 * What memory there is for a record, the subclass decides.
 */
abstract class EngineRecords {
    static final int IDENTITIES = 2048;
    private static final int MAX_STATE_ID = 1023;
    /** Of keys whose presence in files is unknown one in so many is asked for, so that counts are right in the mean. */
    private static final int COUNT_SAMPLE = 64;

    final int firstKeyGroup;
    final Pins pins = new Pins();
    final Chunks chunks;
    final Nodes nodes;
    final Index index;
    final Log log;
    final ColdTier tier;
    /** Whether the tier has files. */
    boolean hasCold;

    final RecordFilter[] filters = new RecordFilter[MAX_STATE_ID + 1];
    final long[] counts = new long[IDENTITIES];
    final long[] bytes = new long[IDENTITIES];

    int lastKeyGroup;
    int lastIdentity;
    long lastHash;
    long lastSlot;
    long lastRecord;
    long lastMoves = -1;
    long moves;
    long findStamp;
    /** Calls of {@link #find}: what read, not what wrote; any thread may look. */
    long lookups;
    /** Of the read cache what nobody can reach any more, since the key was written; bytes. */
    long deadCopyBytes;

    EngineRecords(MemoryBudget budget, Allocator allocator, KeyGroupSpan keyGroups) {
        this.firstKeyGroup = keyGroups.first();
        this.chunks = new Chunks(allocator, budget, pins);
        this.nodes = new Nodes(allocator, budget);
        this.index = new Index(keyGroups.count(), nodes, chunks);
        this.log = new Log(chunks, budget.limitBytes());
        this.tier = new ColdTier(budget, pins, firstKeyGroup, keyGroups.count());
    }

    /** Makes room in the log; whatever it moves for that, it does before it returns. Throws Throttled when there is none. */
    abstract void makeRoom(long size, int identity);

    /** Frees memory until the attempt succeeds. Throws Throttled when it does not. */
    abstract void reclaim(long size, int identity, BooleanSupplier attempt);

    /** The same for cleaning, which may go a little beyond the budget. */
    abstract void ensureRoomForCleaning(long size);

    /** The last lookup was answered by a file, or in vain: may take the record to memory, and then lets the last place be there. */
    abstract void afterFileRead();

    /** The record of the key that was looked up last when it is one of the newest that were read from files, which is then the last record; else 0. */
    abstract long readLately(long key, int keyLength);

    /** Whether the record's segment has become a file of the tier but is still in memory. */
    abstract boolean isLeaving(long record);

    // --- lookups ---------------------------------------------------------------------------------------------------------

    /**
     * The newest record of the key, or 0; remembers the place for {@link #putFound}. What is only in a file is read from there.
     *
     * @throws SlimBaseException Corrupt or Unavailable when the file does not answer
     */
    public long find(int keyGroup, int identity, long key, int keyLength) {
        lookups++;
        long record = findInMemory(keyGroup, identity, key, keyLength);
        if (record == 0 && hasCold && lastSlot == index.nowhere) {
            record = findInFiles(key, keyLength);
        }
        return record;
    }

    /** Like {@link #find} for callers who will overwrite the value: what is only in a file is not read, and not found. */
    public long findInMemory(int keyGroup, int identity, long key, int keyLength) {
        long hash = KeyHash.hash(identity, key, keyLength);
        int group = keyGroup - firstKeyGroup;
        long record = index.find(group, Record.header(keyGroup, identity), key, keyLength, hash);
        lastKeyGroup = keyGroup;
        lastIdentity = identity;
        lastHash = hash;
        lastRecord = record;
        lastSlot = index.foundSlot;
        lastMoves = moves;
        findStamp++;
        return record;
    }

    /** The key that was looked up last, and is not in memory, from the files. */
    private long findInFiles(long key, int keyLength) {
        if (readLately(key, keyLength) == 0) {
            lastRecord = tier.find(lastKeyGroup, lastIdentity, lastHash, key, keyLength, 0);
            afterFileRead();
        }
        return lastRecord;
    }

    /** Says that the key will be looked up soon. */
    public void willNeed(int keyGroup, int identity, long key, int keyLength) {
        if (hasCold) {
            tier.willNeed(keyGroup, identity, KeyHash.hash(identity, key, keyLength));
        }
    }

    /** Whether a key that is not in memory may be in a file. */
    public boolean hasFiles() {
        return hasCold;
    }

    /** Grows with every {@link #find}: whoever remembers it knows whether the last lookup was his. */
    public long findStamp() {
        return findStamp;
    }

    /** Whether nothing has moved since the last find. */
    public boolean lastFindValid() {
        return lastMoves == moves;
    }

    /** Whether the record that was found last may be changed in place. */
    public boolean isCurrentEpoch(long record) {
        return record != 0
                && record == lastRecord
                && lastMoves == moves
                && log.isCurrent(Chunks.number(Memory.getLong(lastSlot)));
    }

    // --- writes ----------------------------------------------------------------------------------------------------------

    /** Sets the value; returns the record. */
    public long put(int keyGroup, int identity, long key, int keyLength, long value, int valueLength) {
        long record = putUninitialized(keyGroup, identity, key, keyLength, valueLength);
        Memory.copy(value, Record.valueAddress(record), valueLength);
        return record;
    }

    /** Like {@link #put}, the value's content left to the caller, who writes it before any other call. */
    public long putUninitialized(int keyGroup, int identity, long key, int keyLength, int valueLength) {
        makeRoom(Record.sizeOf(false, keyLength, valueLength), identity);
        findInMemory(keyGroup, identity, key, keyLength);
        return placeWhole(key, keyLength, valueLength);
    }

    /** Sets the value of the key that was looked up last (same key bytes), without a second lookup when the place is still known. */
    public long putFound(long value, int valueLength, long key, int keyLength) {
        int keyGroup = lastKeyGroup;
        int identity = lastIdentity;
        makeRoom(Record.sizeOf(false, keyLength, valueLength), identity);
        if (lastMoves != moves) {
            findInMemory(keyGroup, identity, key, keyLength);
        }
        long record = placeWhole(key, keyLength, valueLength);
        Memory.copy(value, Record.valueAddress(record), valueLength);
        return record;
    }

    /** At the place of the last find. */
    final long placeWhole(long key, int keyLength, int valueLength) {
        long record = lastRecord;
        if (record == 0 || lastSlot == index.nowhere) {
            countNew(record != 0);
            int previous = record == 0 ? 0 : Record.HAS_PREV;
            return insertNew(Record.header(lastKeyGroup, lastIdentity) | previous, key, keyLength, valueLength);
        }
        boolean own = log.isCurrent(Chunks.number(Memory.getLong(lastSlot)));
        if (own && fitsInPlace(record, keyLength, valueLength)) {
            Record.setValueLength(record, valueLength);
            return record;
        }
        boolean hadPrevious = supersede(Memory.getLong(lastSlot) & Chunks.ADDRESS_MASK);
        int flags = hadPrevious ? Record.HAS_PREV : 0;
        return swing(Record.header(lastKeyGroup, lastIdentity) | flags, 0, key, keyLength, valueLength);
    }

    private static boolean fitsInPlace(long record, int keyLength, int valueLength) {
        boolean large = keyLength > Record.SHORT_LIMIT || valueLength > Record.SHORT_LIMIT;
        return !Record.has(record, Record.CHAINED)
                && Record.has(record, Record.LARGE) == large
                && Record.sizeOf(false, keyLength, valueLength) == Record.size(record);
    }

    /** Where it is unknown whether a file has the key, a sample is asked for. */
    final void countNew(boolean inFile) {
        if (inFile) {
            return;
        }
        if (!hasCold || lastSlot != index.nowhere) {
            counts[lastIdentity]++;
        } else if ((lastHash & COUNT_SAMPLE - 1) == 0 && !tier.mayContain(lastKeyGroup, lastHash)) {
            counts[lastIdentity] += COUNT_SAMPLE;
        }
    }

    /** A record for a key that memory has none of; it takes the place of the key's tombstone. */
    final long insertNew(int header, long key, int keyLength, int valueLength) {
        if (lastSlot != index.nowhere) {
            return swing(header | Record.HAS_PREV, 0, key, keyLength, valueLength);
        }
        prepareInsert(Record.sizeOf((header & Record.CHAINED) != 0, keyLength, valueLength));
        long record = log.nextAddress();
        insert(append(header, 0, key, keyLength, valueLength));
        lastRecord = record;
        return record;
    }

    /** The index has room for the key that was looked up last, and the log still for the record. */
    final void prepareInsert(long size) {
        int keyGroup = lastKeyGroup;
        int identity = lastIdentity;
        long hash = lastHash;
        int group = keyGroup - firstKeyGroup;
        if (!index.prepareInsert(group, hash)) {
            reclaim(Index.nodeBytes(Index.MAX_CODE) * 2L, identity, () -> index.prepareInsert(group, hash));
            makeRoom(size, identity);
            // Cleaning looks up other keys, and may have taken the room again.
            while (!index.prepareInsert(group, hash)) {
                reclaim(Index.nodeBytes(Index.MAX_CODE) * 2L, identity, () -> index.prepareInsert(group, hash));
                makeRoom(size, identity);
            }
            lastKeyGroup = keyGroup;
            lastIdentity = identity;
            lastHash = hash;
        }
    }

    final void insert(long logical) {
        moves++;
        lastSlot = index.insert(lastKeyGroup - firstKeyGroup, lastHash, logical);
        lastMoves = moves;
    }

    /** Appends and lets the last found slot point to it. */
    final long swing(int header, long previous, long key, int keyLength, int valueLength) {
        long record = log.nextAddress();
        long logical = append(header, previous, key, keyLength, valueLength);
        Memory.putLong(lastSlot, Memory.getLong(lastSlot) & ~Chunks.ADDRESS_MASK | logical);
        lastRecord = record;
        return record;
    }

    final long append(int header, long previous, long key, int keyLength, int valueLength) {
        long size = Record.sizeOf((header & Record.CHAINED) != 0, keyLength, valueLength);
        Record.write(log.nextAddress(), header, previous, key, keyLength, valueLength);
        account(log.open(), header, size);
        return log.take(size);
    }

    private void account(Segment segment, int header, long size) {
        segment.liveBytes += size;
        log.liveBytes += size;
        if ((header & Record.TOMBSTONE) != 0) {
            segment.tombstoneBytes += size;
            log.tombstoneBytes += size;
        } else {
            bytes[identityOf(header)] += size;
        }
    }

    private static int identityOf(int header) {
        return (header >>> 15 & 0x3FF) << 1 | header >>> 30 & 1;
    }

    /** Lets go of a record and what it continues. True when a sealed or older version may be in a file. */
    final boolean supersede(long logical) {
        boolean hadPrevious = false;
        long at = logical;
        while (at != 0) {
            int chunk = Chunks.number(at);
            long record = chunks.resolve(at);
            hadPrevious |= Record.has(record, Record.HAS_PREV);
            if (chunks.epoch[chunk] == Log.CACHED) {
                chunks.owner[chunk].liveBytes -= Record.size(record);
                deadCopyBytes += Record.size(record);
            } else {
                forget(record, chunks.owner[chunk]);
            }
            if (log.isCurrent(chunk)) {
                Record.addFlag(record, Record.DEAD);
            } else {
                hadPrevious = true;
            }
            at = Record.previous(record);
        }
        return hadPrevious;
    }

    /** The record is alive no more. */
    final void forget(long record, Segment segment) {
        long size = Record.size(record);
        segment.liveBytes -= size;
        log.liveBytes -= size;
        bytes[Record.identity(record)] -= size;
    }

    /**
     * Takes the key out without reading files; true when it was in memory, or may have been in a file.
     */
    public boolean remove(int keyGroup, int identity, long key, int keyLength) {
        boolean inMemory = findInMemory(keyGroup, identity, key, keyLength) != 0;
        if (!inMemory && !mayBeInFiles()) {
            return false;
        }
        long size = Record.sizeOf(false, keyLength, 0);
        makeRoom(size, identity);
        if (lastMoves != moves) {
            findInMemory(keyGroup, identity, key, keyLength);
        }
        if (lastRecord != 0) {
            removeFound(key, keyLength, true);
        } else if (mayBeInFiles()) {
            prepareInsert(size);
            insert(append(Record.header(keyGroup, identity) | Record.TOMBSTONE, 0, key, keyLength, 0));
            counts[identity]--;
        } // else it had expired, and cleaning was faster
        return true;
    }

    /** Whether the key that was looked up last, and is not in memory, may be in a file. */
    final boolean mayBeInFiles() {
        return hasCold && lastSlot == index.nowhere && tier.mayContain(lastKeyGroup, lastHash);
    }

    /** A tombstone takes the place of the record that was found last, when an older version may be in a file. */
    final void removeFound(long key, int keyLength, boolean withTombstone) {
        boolean hadPrevious = supersede(Memory.getLong(lastSlot) & Chunks.ADDRESS_MASK);
        counts[lastIdentity]--;
        if (withTombstone && (hadPrevious || hasCold && tier.mayContain(lastKeyGroup, lastHash))) {
            swing(Record.header(lastKeyGroup, lastIdentity) | Record.TOMBSTONE, 0, key, keyLength, 0);
        } else {
            index.remove(lastKeyGroup - firstKeyGroup, lastSlot);
        }
        moves++;
        lastRecord = 0;
    }

    // --- chains of a list ------------------------------------------------------------------------------------------------

    /** The list's blocks, newest first, as far as `out` reaches; returns how many there are. What is in files comes as one block. */
    public int chain(long record, long[] out) {
        int count = chainInMemory(record, out);
        long last = count == 0 || count > out.length ? 0 : out[count - 1];
        if (last != 0 && hasCold && Record.has(last, Record.CHAINED)) {
            long older = findContinued(last);
            if (older != 0) {
                if (count < out.length) {
                    out[count] = older;
                }
                count++;
            }
        }
        return count;
    }

    /** What a block of which the rest is in files continues. The file of its own segment, if that is just leaving, has the block itself. */
    private long findContinued(long block) {
        int identity = Record.identity(block);
        int keyLength = Record.keyLength(block);
        long key = Record.keyAddress(block);
        boolean isLeaving = isLeaving(block);
        return tier.find(Record.keyGroup(block), identity, KeyHash.hash(identity, key, keyLength), key, keyLength, isLeaving ? 1 : 0);
    }

    private int chainInMemory(long record, long[] out) {
        int count = 0;
        for (long at = record; at != 0; ) {
            if (count < out.length) {
                out[count] = at;
            }
            count++;
            long previous = Record.previous(at);
            at = previous == 0 ? 0 : chunks.resolve(previous);
        }
        return count;
    }

    /** Makes one block of the list that was found last, also of what is in files: files that have a part of it stay what they are. */
    final void joinFound(long key, int keyLength) {
        long[] blocks = new long[16];
        int count = chain(lastRecord, blocks);
        if (count > blocks.length) {
            blocks = new long[count + 1];
            count = chain(lastRecord, blocks);
        }
        for (int i = 0; i < count; i++) {
            blocks[i] = Record.valueAddress(blocks[i]);
        }
        int length = Math.toIntExact(ListBlocks.joinedLength(blocks, count));
        ensureRoomForCleaning(Record.sizeOf(false, keyLength, length));
        boolean hadPrevious = supersede(Memory.getLong(lastSlot) & Chunks.ADDRESS_MASK);
        int header = Record.header(lastKeyGroup, lastIdentity) | (hadPrevious ? Record.HAS_PREV : 0);
        ListBlocks.join(blocks, count, Record.valueAddress(swing(header, 0, key, keyLength, length)));
    }
}
