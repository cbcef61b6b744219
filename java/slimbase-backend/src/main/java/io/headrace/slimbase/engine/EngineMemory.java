package io.headrace.slimbase.engine;

import java.util.function.BooleanSupplier;

/**
 * The memory under {@link SlimEngine}: makes room by cleaning, by letting segments leave for files, and by waiting for those who read; and what
 * cleaning and leaving mean for a record.
 */
abstract class EngineMemory extends EngineRecords {
    /** Records of a chunk that a sample looks at. */
    private static final int SAMPLE = 8;
    /** How long an append waits for a snapshot to give memory back before it says that there is none. */
    private static final long SNAPSHOT_WAIT_MS = 60_000;
    /** The same for the other engines of the slot: each has barriers, and most write all the time. */
    private static final long NEIGHBOUR_WAIT_MS = 5_000;
    /** Share of the budget from which on barriers clean too. */
    private static final double SHORT_SHARE = 0.75;
    /** Share of the budget from which on segments leave memory, when there is a store. */
    private static final double SPILL_SHARE = 0.85;
    /** Of the budget, for all indexes. */
    private static final double INDEX_SHARE = 0.75;

    /** Share of the budget that the cache may have while memory is short. */
    private static final double CACHE_SHARE = 0.4;
    /** Reads from files between two looks at what could leave memory, when nothing is written. */
    private static final int READS_PER_LOOK = 64;
    /** Bytes that a look lets go of. */
    private static final long LOOK_BYTES = 8 << 10;
    /** Further lookups for which memory stays that was given up while reading: callers may hold a map's root and some pages. */
    private static final int GUARDED_FINDS = 4096;
    /** Beyond the budget while cleaning, at most: what is being freed is more. */
    private static final long CLEANING_OVERDRAFT = Log.LAST_CHUNK;

    final MemoryBudget budget;
    private final EngineListener listener;
    final Cleaner cleaner;
    /** Null without a store: nothing leaves memory then. */
    final Spiller spiller;

    final ReadCache cache;
    /** Pin of what was given up while reading; 0 when there is none. */
    private long guard;

    private long guardStamp;
    private int coldReads;
    private final RecentReads recent;
    boolean filtered;
    /** Walks over files that are under way. */
    int walks;

    boolean restoring;
    /** Whether the file being restored has so far gone to one segment, which then holds what the file holds. */
    boolean restoredWhole;
    private int shortagesSeen;

    EngineMemory(MemoryBudget budget, Allocator allocator, KeyGroupSpan keyGroups, EngineListener listener, ColdStore store) {
        super(budget, allocator, keyGroups);
        this.budget = budget;
        this.listener = listener;
        this.cleaner = new Cleaner(this, log, chunks, budget.limitBytes());
        this.shortagesSeen = budget.shortages();
        this.spiller = store == null ? null : new Spiller(this, log, chunks, tier, pins, store);
        this.cache = store == null ? null : new ReadCache(chunks, budget);
        this.recent = new RecentReads(tier);
    }

    // --- reading from files ----------------------------------------------------------------------------------------------

    @Override
    final long readLately(long key, int keyLength) {
        int place = recent.find(lastKeyGroup, lastIdentity, lastHash, key, keyLength);
        if (place < 0) {
            return 0;
        }
        lastRecord = recent.record(place);
        if (walks == 0 && recent.isReadOn(place)) {
            recent.remove(place);
            keepInMemory(lastRecord, lastHash, true);
        }
        return lastRecord;
    }

    @Override
    final void afterFileRead() {
        if (walks > 0) {
            return; // what comes to memory or leaves it during a walk would be met twice, or not at all
        }
        if (lastRecord != 0 && cache.takes(Record.size(lastRecord))) {
            keepIfUnwritten(recent.oldest());
            recent.add(lastRecord, lastHash, cache.wasReadBefore(lastHash));
        }
        if (++coldReads % READS_PER_LOOK == 0) {
            lookWhileReading();
        }
    }

    /**
     * Takes a record that was read to memory, unless its key has been written since it was read: what is read to be written would leave a copy that nobody
     * reads, and memory for copies is taken from the log.
     */
    private void keepIfUnwritten(int place) {
        if (!recent.isHeld(place)) {
            return;
        }
        int keyGroup = lastKeyGroup;
        int identity = lastIdentity;
        long hash = lastHash;
        long found = lastRecord;
        long record = recent.record(place);
        lastKeyGroup = Record.keyGroup(record);
        lastIdentity = Record.identity(record);
        lastHash = recent.hash(place);
        int header = Record.header(lastKeyGroup, lastIdentity);
        index.find(lastKeyGroup - firstKeyGroup, header, Record.keyAddress(record), Record.keyLength(record), lastHash);
        if (index.foundSlot == index.nowhere) {
            keepInMemory(record, lastHash, recent.isReadAgain(place));
        }
        lastKeyGroup = keyGroup;
        lastIdentity = identity;
        lastHash = hash;
        lastRecord = found;
        lastSlot = index.nowhere; // it was read from a file
        lastMoves = moves;
    }

    @Override
    final boolean isLeaving(long record) {
        return spiller.isLeaving(record);
    }

    /** Copies a record that was read from a file to the cache, if there is room, and lets the last place be there. */
    private void keepInMemory(long record, long hash, boolean isReadAgain) {
        long size = Record.size(record);
        int group = lastKeyGroup - firstKeyGroup;
        if (!cache.hasRoom(size, isReadAgain) && !makeCacheRoom(isReadAgain) || !index.prepareInsert(group, hash)) {
            return;
        }
        long logical = cache.add(record, isReadAgain);
        moves++;
        lastSlot = index.insert(group, hash, logical);
        lastRecord = chunks.resolve(logical);
        lastMoves = moves;
    }

    private boolean makeCacheRoom(boolean isReadAgain) {
        boolean mayGrow = isReadAgain || !cache.isOnceFull();
        if (mayGrow && !isUnderPressure() && cache.addChunk(isReadAgain)) {
            return true;
        }
        int chunk = cache.chunkInPlaceOf(isReadAgain);
        if (chunk == 0) {
            return false;
        }
        int keyGroup = lastKeyGroup;
        int identity = lastIdentity;
        long hash = lastHash;
        long record = lastRecord;
        guardReaders();
        dropCached(chunk);
        lastKeyGroup = keyGroup;
        lastIdentity = identity;
        lastHash = hash;
        lastRecord = record;
        lastSlot = index.nowhere;
        lastMoves = moves;
        return cache.addChunk(isReadAgain);
    }

    /** The index lets go of a chunk of the cache. */
    private void dropCached(int chunk) {
        deadCopyBytes -= cache.deadBytes(chunk);
        long start = chunks.address(chunk);
        for (long record = start; record < start + chunks.used[chunk]; record += Record.size(record)) {
            letGo(record, Chunks.logical(chunk, record - start), chunks.owner[chunk]);
        }
        cache.drop(chunk);
        moves++;
    }

    /** Memory that is given up from here on stays for a while: callers of lookups hold addresses. */
    private void guardReaders() {
        if (guard != 0 && findStamp - guardStamp > GUARDED_FINDS) {
            unguard();
        }
        if (guard == 0) {
            guard = pins.pin();
            guardStamp = findStamp;
        }
    }

    final void unguard() {
        if (guard != 0) {
            pins.unpin(guard);
            guard = 0;
            chunks.releaseUnread();
        }
    }

    /** Where nothing is written, reading moves what is read to memory and the rest to files. */
    private void lookWhileReading() {
        long record = lastRecord;
        long slot = lastSlot;
        int keyGroup = lastKeyGroup;
        int identity = lastIdentity;
        long hash = lastHash;
        long before = moves;
        guardReaders();
        spiller.pay(LOOK_BYTES);
        lastKeyGroup = keyGroup;
        lastIdentity = identity;
        lastHash = hash;
        lastRecord = record;
        lastSlot = slot;
        lastMoves = moves == before ? moves : -1;
    }

    // --- room ------------------------------------------------------------------------------------------------------------

    @Override
    final void makeRoom(long size, int identity) {
        if (!restoring) {
            unguard();
            if (spiller == null) {
                cleaner.pay(size);
            } else {
                if (cleaner.isAtWork()) {
                    cleanForOthers(() -> cleaner.pay(size));
                }
                spiller.waitForMerge();
                spiller.pay(size);
                trimCache();
            }
            relieve();
        }
        if (!log.hasRoom(size)) {
            if (!restoring) {
                cleaner.choose();
            }
            int epoch = restoring ? Log.RESTORED : log.epoch();
            if (!log.addChunk(size, false, epoch)) {
                reclaim(size, identity, () -> log.hasRoom(size) || log.addChunk(size, false, epoch));
            }
        }
    }

    /** Under pressure the cache gives way to what is written when it is too large, and what was read once in any case. */
    private void trimCache() {
        int chunk = isUnderPressure() && (isCacheTooLarge() || !cache.isOnceOneChunk()) ? cache.leavingChunk() : 0;
        if (chunk != 0) {
            dropCached(chunk);
        }
    }

    /** It has more than its share, leaves the log too little for a file, or is half dead. */
    private boolean isCacheTooLarge() {
        return cache.bytes() > budget.limitBytes() * CACHE_SHARE || log.isStarved() || deadCopyBytes > cache.bytes() / 2;
    }

    /** Cleans when another engine of the slot has called for memory since the last look. */
    final void relieve() {
        int shortages = budget.shortages();
        if (shortages != shortagesSeen) {
            shortagesSeen = shortages;
            chunks.releaseUnread();
            cleanForOthers(cleaner::relieve);
            if (spiller != null) {
                cleanForOthers(this::spillForOthers);
            }
            chunks.releaseUnread();
        }
    }

    private void spillForOthers() {
        int chunk = cache.leavingChunk();
        if (chunk != 0) {
            dropCached(chunk);
        }
        if (isUnderPressure()) {
            spiller.makeProgress();
        }
    }

    /** Cleaning that nobody here waits for: without room to move records it stops, and neither a barrier nor a write fails for it. */
    static void cleanForOthers(Runnable cleaning) {
        try {
            cleaning.run();
        } catch (SlimBaseException e) {
            if (e.kind() != SlimBaseException.Kind.Throttled) {
                throw e;
            }
        }
    }

    /** Whether segments should leave memory, so that files are there before it is full. */
    boolean isUnderPressure() {
        return budget.usedBytes() > budget.limitBytes() * SPILL_SHARE;
    }

    /** What indexes of files should take at most: with that of the records in memory it leaves these a quarter of the budget; bytes. */
    long roomForIndexes() {
        return (long) (budget.limitBytes() * INDEX_SHARE) - nodes.allocatedBytes();
    }

    /** Seals a segment that is to leave memory; what is newer may still be changed in place, or each change of it would be a copy. */
    void seal(Segment segment) {
        restoredWhole &= segment != log.open();
        log.seal(segment);
    }

    Cleaner cleaner() {
        return cleaner;
    }

    boolean isMemoryShort() {
        return budget.usedBytes() > budget.limitBytes() * SHORT_SHARE;
    }

    @Override
    final void ensureRoomForCleaning(long size) {
        if (!log.hasRoom(size)) {
            boolean force = budget.usedBytes() < budget.limitBytes() + CLEANING_OVERDRAFT;
            if (!log.addChunk(size, force, log.epoch())) {
                throw full(lastIdentity, size);
            }
        }
    }

    @Override
    final void reclaim(long size, int identity, BooleanSupplier attempt) {
        unguard();
        while (!attempt.getAsBoolean()) {
            if (chunks.releaseUnread()) {
                continue;
            }
            if (spill() || !restoring && cleaner.cleanNow()) {
                continue;
            }
            if (chunks.awaitUnread(SNAPSHOT_WAIT_MS)) {
                continue;
            }
            if (spiller != null && spiller.failure() != null) {
                throw spiller.failure();
            }
            if (!hasNeighbours() || !budget.awaitLess(budget.usedBytes(), NEIGHBOUR_WAIT_MS)) {
                throw full(identity, size);
            }
        }
    }

    /** Gives memory back to the price of reading files later: first from the cache, then by packing a segment. */
    private boolean spill() {
        if (spiller == null) {
            return false;
        }
        int chunk = isCacheTooLarge() ? cache.leavingChunk() : 0;
        if (chunk != 0) {
            dropCached(chunk);
            return true;
        }
        if (spiller.makeProgress()) {
            return true;
        }
        chunk = cache.leavingChunk();
        if (chunk != 0) {
            dropCached(chunk);
        }
        return chunk != 0;
    }

    void tierChanged() {
        hasCold = !tier.isEmpty();
        recent.clear();
        moves++;
    }

    /** The index lets go of a record that is in a file now, with its whole segment or chunk of the cache; all pieces of a list at once. */
    void letGo(long record, long logical, Segment leaving) {
        int flags = Record.flags(record);
        if ((flags & Record.DEAD) != 0) {
            return;
        }
        long found = findInMemory(Record.keyGroup(record), Record.identity(record), Record.keyAddress(record), Record.keyLength(record));
        int group = lastKeyGroup - firstKeyGroup;
        long head = Memory.getLong(lastSlot) & Chunks.ADDRESS_MASK;
        if ((flags & Record.TOMBSTONE) != 0) {
            forgetTombstone(record, leaving);
            if (head == logical) {
                index.remove(group, lastSlot);
                moves++;
            }
        } else if (found != 0 && chunks.owner[Chunks.number(head)] == leaving) {
            forgetChain(head, leaving);
            index.remove(group, lastSlot);
            moves++;
        } else if (found != 0) {
            cutChain(found, leaving);
        }
        lastMoves = -1;
    }

    /** What continues a piece that leaves continues what is in files from now on. */
    private void cutChain(long head, Segment leaving) {
        long record = head;
        for (long previous = Record.previous(record); previous != 0; previous = Record.previous(record)) {
            if (chunks.owner[Chunks.number(previous)] == leaving) {
                forgetChain(previous, leaving);
                Record.forgetPrevious(record);
                Record.addFlag(record, Record.HAS_PREV);
                return;
            }
            record = chunks.resolve(previous);
        }
    }

    private void forgetChain(long logical, Segment leaving) {
        for (long at = logical; at != 0; ) {
            long record = chunks.resolve(at);
            Segment owner = chunks.owner[Chunks.number(at)];
            assert owner == leaving || owner.epoch() == Log.CACHED : "an older piece is still in memory";
            if (owner.epoch() != Log.CACHED) {
                forget(record, owner);
            }
            at = Record.previous(record);
        }
    }

    private void forgetTombstone(long record, Segment victim) {
        long size = Record.size(record);
        victim.liveBytes -= size;
        victim.tombstoneBytes -= size;
        log.liveBytes -= size;
        log.tombstoneBytes -= size;
    }

    private boolean hasNeighbours() {
        return budget.usedBytes() > allocatedBytes();
    }

    private long allocatedBytes() {
        return chunks.allocatedBytes() + nodes.allocatedBytes();
    }

    private SlimBaseException full(int identity, long size) {
        int largest = identity;
        for (int each = 0; each < IDENTITIES; each++) {
            largest = bytes[each] > bytes[largest] ? each : largest;
        }
        return new SlimBaseException(
                SlimBaseException.Kind.Throttled,
                "state does not fit its memory, state=`"
                        + listener.nameOfState(identity >>> 1)
                        + "`, wanted_bytes="
                        + size
                        + ", budget_bytes="
                        + budget.limitBytes()
                        + ", other_operators_bytes="
                        + (budget.usedBytes() - allocatedBytes())
                        + ", largest_state=`"
                        + listener.nameOfState(largest >>> 1)
                        + "` with "
                        + bytes[largest]
                        + " bytes",
                "raise `taskmanager.memory.managed.size` or the operator's parallelism",
                null);
    }

    /** One record of a victim; room was made. */
    void clean(long record, long logical, Segment victim) {
        int flags = Record.flags(record);
        if ((flags & Record.DEAD) != 0) {
            return;
        }
        long key = Record.keyAddress(record);
        int keyLength = Record.keyLength(record);
        long found = findInMemory(Record.keyGroup(record), Record.identity(record), key, keyLength);
        if ((flags & Record.TOMBSTONE) != 0) {
            cleanTombstone(record, logical, found, victim);
        } else if (found == record) {
            cleanLive(record, logical, key, keyLength, victim);
        } else if (found != 0 && Record.has(found, Record.CHAINED) && continues(found, record)) {
            joinFound(key, keyLength);
            moves++;
        }
        lastMoves = -1; // whoever looked a key up before must look again
    }

    private boolean continues(long head, long block) {
        for (long at = Record.previous(head); at != 0; ) {
            long record = chunks.resolve(at);
            if (record == block) {
                return true;
            }
            at = Record.previous(record);
        }
        return false;
    }

    private void cleanTombstone(long record, long logical, long found, Segment victim) {
        forgetTombstone(record, victim);
        if (found != 0) {
            Record.addFlag(found, Record.HAS_PREV);
        } else if ((Memory.getLong(lastSlot) & Chunks.ADDRESS_MASK) == logical) {
            if (hasOlder(victim)) {
                swing(Record.flags(record), 0, Record.keyAddress(record), Record.keyLength(record), 0);
            } else {
                index.remove(lastKeyGroup - firstKeyGroup, lastSlot);
            }
            moves++;
        }
        if (victim.epoch() == log.epoch()) {
            Record.addFlag(record, Record.DEAD);
        }
    }

    /** Whether an older version than the segment's may be in a file of ours. */
    final boolean hasOlder(Segment segment) {
        return hasCold || log.hasOlder(segment);
    }

    private void cleanLive(long record, long logical, long key, int keyLength, Segment victim) {
        RecordFilter filter = filters[Record.stateId(record)];
        moves++;
        lastMoves = moves;
        if (filter != null && !Record.has(record, Record.AUX) && !filter.keep(record)) {
            // An older version in a file may be anything: a map that had pages, an entry that was removed since.
            boolean hadPrevious = Record.has(record, Record.HAS_PREV) || hasCold && tier.mayContain(lastKeyGroup, lastHash);
            removeFound(key, keyLength, hadPrevious && hasOlder(victim));
        } else if (Record.has(record, Record.CHAINED)) {
            joinFound(key, keyLength);
        } else {
            long value = Record.valueAddress(record);
            int valueLength = Record.valueLength(record);
            boolean hadPrevious = supersede(logical);
            int header = Record.header(lastKeyGroup, lastIdentity) | (hadPrevious ? Record.HAS_PREV : 0);
            long copy = swing(header, 0, key, keyLength, valueLength);
            Memory.copy(value, Record.valueAddress(copy), valueLength);
        }
    }

    void moved() {
        moves++;
    }

    /**
     * Garbage that may lie around for each live byte. Letting it gather makes cleaning cheaper, since less of a victim is still alive, and costs
     * memory and checkpoint storage; so more while the budget has room.
     */
    double garbageShare() {
        double used = (double) budget.usedBytes() / budget.limitBytes();
        return used > 0.9 ? 0.25 : used > SHORT_SHARE ? 0.5 : used > 0.5 ? 1.0 : 1.5;
    }

    boolean hasFilters() {
        return filtered;
    }

    /** The share of a segment's values that filters would leave out, by a sample of the first ones in each chunk. */
    double expiredShare(Segment segment) {
        int seen = 0;
        int expired = 0;
        for (int i = 0; i < segment.chunkCount(); i++) {
            int chunk = segment.chunk(i);
            long at = chunks.address(chunk);
            long end = at + chunks.used[chunk];
            for (int n = 0; n < SAMPLE && at < end; n++, at += Record.size(at)) {
                int flags = Record.flags(at);
                if ((flags & (Record.DEAD | Record.TOMBSTONE | Record.AUX | Record.CHAINED)) == 0) {
                    RecordFilter filter = filters[Record.stateId(at)];
                    seen++;
                    expired += filter != null && !filter.keep(at) ? 1 : 0;
                }
            }
        }
        return seen == 0 ? 0 : (double) expired / seen;
    }
}
