package io.headrace.slimbase.engine;

import java.util.ArrayList;
import java.util.List;

/**
 * The state of one operator subtask in memory: an index per key group over an append-only log, as docs/concepts/slimbase-format.md lays it out.
 *
 * <p>One thread. Results of lookups are memory addresses that hold until the next writing call. Every write first makes room (which may clean,
 * and so move records), then looks the key up, then writes; nothing is half done when there is no room.
 */
public final class SlimEngine implements AutoCloseable {
    private static final int IDENTITIES = 2048;
    private static final int MAX_STATE_ID = 1023;
    /** Records of a chunk that a sample looks at. */
    private static final int SAMPLE = 8;
    private static final int LIST_HEADER = 8;
    private static final int LIST_BLOCK_LIMIT = 64 << 10;
    /** Room for a second small element in a list's first block. */
    private static final int FIRST_BLOCK_SPARE = 8;
    /** How long an append waits for a snapshot to give memory back before it says that there is none. */
    private static final long SNAPSHOT_WAIT_MS = 60_000;
    /** The same for the other engines of the slot: each has barriers, and most write all the time. */
    private static final long NEIGHBOUR_WAIT_MS = 5_000;
    /** Share of the budget from which on barriers clean too. */
    private static final double SHORT_SHARE = 0.75;
    /** Share of the budget from which on a restore makes room between two files, so that the next one fits. */
    private static final double RESTORE_SHARE = 0.8;
    /** Beyond the budget while cleaning, at most: what is being freed is more. */
    private static final long CLEANING_OVERDRAFT = Log.LAST_CHUNK;

    private final MemoryBudget budget;
    private final EngineListener listener;
    private final int firstKeyGroup;
    private final Pins pins = new Pins();
    private final Chunks chunks;
    private final Nodes nodes;
    private final Index index;
    private final Log log;
    private final Cleaner cleaner;
    private final RecordFilter[] filters = new RecordFilter[MAX_STATE_ID + 1];
    private final long[] counts = new long[IDENTITIES];
    private final long[] bytes = new long[IDENTITIES];
    private final long control = Memory.allocate(64);
    private boolean filtered;
    private boolean closed;
    private boolean restoring;
    private int shortagesSeen;

    /** Of the file being restored: the key group that it is at, the highest identity and hash it had of it; no identity is above {@link #IDENTITIES}. */
    private int ascendingGroup = -1;

    private int ascendingIdentity;
    private long ascendingHash;
    /** Keeps the compiler from leaving the reads of {@link #announceRestored} out. */
    private long announced;

    private int lastKeyGroup;
    private int lastIdentity;
    private long lastHash;
    private long lastSlot;
    private long lastRecord;
    private long lastMoves = -1;
    private long moves;
    private long findStamp;

    public SlimEngine(
            MemoryBudget budget, Allocator allocator, int firstKeyGroup, int keyGroupCount, EngineListener listener) {
        this.budget = budget;
        this.listener = listener;
        this.firstKeyGroup = firstKeyGroup;
        this.chunks = new Chunks(allocator, budget, pins);
        this.nodes = new Nodes(allocator, budget);
        this.index = new Index(keyGroupCount, nodes, chunks);
        this.log = new Log(chunks, budget.limitBytes());
        this.cleaner = new Cleaner(this, log, chunks, budget.limitBytes());
        this.shortagesSeen = budget.shortages();
    }

    // --- lookups ---------------------------------------------------------------------------------------------------------

    /** The newest record of the key, or 0; remembers the place for {@link #putFound}. */
    public long find(int keyGroup, int identity, long key, int keyLength) {
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
        find(keyGroup, identity, key, keyLength);
        return placeWhole(key, keyLength, valueLength);
    }

    /** Sets the value of the key that was looked up last (same key bytes), without a second lookup when the place is still known. */
    public long putFound(long value, int valueLength, long key, int keyLength) {
        int keyGroup = lastKeyGroup;
        int identity = lastIdentity;
        makeRoom(Record.sizeOf(false, keyLength, valueLength), identity);
        if (lastMoves != moves) {
            find(keyGroup, identity, key, keyLength);
        }
        long record = placeWhole(key, keyLength, valueLength);
        Memory.copy(value, Record.valueAddress(record), valueLength);
        return record;
    }

    /** At the place of the last find. */
    private long placeWhole(long key, int keyLength, int valueLength) {
        long record = lastRecord;
        if (record == 0) {
            return insertNew(Record.header(lastKeyGroup, lastIdentity), key, keyLength, valueLength);
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

    private long insertNew(int header, long key, int keyLength, int valueLength) {
        int group = lastKeyGroup - firstKeyGroup;
        long hash = lastHash;
        int keyGroup = lastKeyGroup;
        int identity = lastIdentity;
        if (!index.prepareInsert(group, hash)) {
            reclaim(Index.nodeBytes(Index.MAX_CODE) * 2L, identity, () -> index.prepareInsert(group, hash));
            makeRoom(Record.sizeOf(false, keyLength, valueLength), identity);
            // Cleaning looks up other keys.
            lastKeyGroup = keyGroup;
            lastIdentity = identity;
            lastHash = hash;
        }
        long record = log.nextAddress();
        long logical = append(header, 0, key, keyLength, valueLength);
        moves++;
        lastSlot = index.insert(group, lastHash, logical);
        lastRecord = record;
        lastMoves = moves;
        counts[lastIdentity]++;
        return record;
    }

    /** Appends and lets the last found slot point to it. */
    private long swing(int header, long previous, long key, int keyLength, int valueLength) {
        long record = log.nextAddress();
        long logical = append(header, previous, key, keyLength, valueLength);
        Memory.putLong(lastSlot, Memory.getLong(lastSlot) & ~Chunks.ADDRESS_MASK | logical);
        lastRecord = record;
        return record;
    }

    private long append(int header, long previous, long key, int keyLength, int valueLength) {
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
    private boolean supersede(long logical) {
        boolean hadPrevious = false;
        long at = logical;
        while (at != 0) {
            int chunk = Chunks.number(at);
            long record = chunks.resolve(at);
            long size = Record.size(record);
            Segment segment = chunks.owner[chunk];
            segment.liveBytes -= size;
            log.liveBytes -= size;
            bytes[Record.identity(record)] -= size;
            hadPrevious |= Record.has(record, Record.HAS_PREV);
            if (log.isCurrent(chunk)) {
                Record.addFlag(record, Record.DEAD);
            } else {
                hadPrevious = true;
            }
            at = Record.previous(record);
        }
        return hadPrevious;
    }

    /** Takes the key out; true when it was there. */
    public boolean remove(int keyGroup, int identity, long key, int keyLength) {
        if (find(keyGroup, identity, key, keyLength) == 0) {
            return false;
        }
        makeRoom(Record.sizeOf(false, keyLength, 0), identity);
        if (lastMoves == moves || find(keyGroup, identity, key, keyLength) != 0) {
            removeFound(key, keyLength, true);
        } // else it had expired, and cleaning was faster
        return true;
    }

    private void removeFound(long key, int keyLength, boolean withTombstone) {
        boolean hadPrevious = supersede(Memory.getLong(lastSlot) & Chunks.ADDRESS_MASK);
        index.remove(lastKeyGroup - firstKeyGroup, lastSlot);
        counts[lastIdentity]--;
        moves++;
        lastRecord = 0;
        if (hadPrevious && withTombstone) {
            append(Record.header(lastKeyGroup, lastIdentity) | Record.TOMBSTONE, 0, key, keyLength, 0);
        }
    }

    // --- lists -----------------------------------------------------------------------------------------------------------

    /** Adds a serialized element to the list; never reads or moves what the list has. */
    public void appendToList(int keyGroup, int identity, long key, int keyLength, long element, int elementLength) {
        long record = find(keyGroup, identity, key, keyLength);
        if (record != 0 && isCurrentEpoch(record) && appendInPlace(record, element, elementLength)) {
            return;
        }
        // A new block is at most twice as large as its forerunner, so that a list of n bytes has about log(n) blocks an epoch.
        int valueLength = record == 0 ? LIST_HEADER + elementLength + FIRST_BLOCK_SPARE : blockLength(record, elementLength);
        makeRoom(Record.sizeOf(true, keyLength, valueLength), identity);
        if (lastMoves != moves) {
            record = find(keyGroup, identity, key, keyLength);
        }
        long block;
        if (record == 0) {
            block = insertNew(Record.header(keyGroup, identity), key, keyLength, valueLength);
        } else {
            boolean sealed = !log.isCurrent(Chunks.number(Memory.getLong(lastSlot)));
            long head = Memory.getLong(lastSlot) & Chunks.ADDRESS_MASK;
            int flags = Record.CHAINED | (sealed || Record.has(record, Record.HAS_PREV) ? Record.HAS_PREV : 0);
            block = swing(Record.header(keyGroup, identity) | flags, head, key, keyLength, valueLength);
        }
        startBlock(Record.valueAddress(block), element, elementLength);
    }

    private static int blockLength(long forerunner, int elementLength) {
        int doubled = Math.min(2 * (Record.valueLength(forerunner) - LIST_HEADER), LIST_BLOCK_LIMIT);
        return LIST_HEADER + Math.max(doubled, elementLength);
    }

    private static boolean appendInPlace(long record, long element, int elementLength) {
        long block = Record.valueAddress(record);
        int used = Memory.getInt(block);
        int count = Memory.getInt(block + 4);
        int delimiter = count > 0 ? 1 : 0;
        if (LIST_HEADER + (long) used + delimiter + elementLength > Record.valueLength(record)) {
            return false;
        }
        long at = block + LIST_HEADER + used;
        if (delimiter == 1) {
            Memory.putByte(at++, (byte) ',');
        }
        Memory.copy(element, at, elementLength);
        Memory.putInt(block, used + delimiter + elementLength);
        Memory.putInt(block + 4, count + 1);
        return true;
    }

    private static void startBlock(long block, long element, int elementLength) {
        Memory.putInt(block, elementLength);
        Memory.putInt(block + 4, 1);
        Memory.copy(element, block + LIST_HEADER, elementLength);
    }

    /** Replaces the list by these elements, already joined with `,`. */
    public void putList(int keyGroup, int identity, long key, int keyLength, long elements, int length, int count) {
        long record = putUninitialized(keyGroup, identity, key, keyLength, LIST_HEADER + length);
        long block = Record.valueAddress(record);
        Memory.putInt(block, length);
        Memory.putInt(block + 4, count);
        Memory.copy(elements, block + LIST_HEADER, length);
    }

    /** The list's blocks, newest first, as far as `out` reaches; returns how many there are. */
    public int chain(long record, long[] out) {
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

    /** Makes one block of the list that was found last. */
    private void joinFound(long key, int keyLength) {
        long[] blocks = new long[16];
        int count = chain(lastRecord, blocks);
        if (count > blocks.length) {
            blocks = new long[count];
            chain(lastRecord, blocks);
        }
        long used = count - 1L;
        int elements = 0;
        for (int i = 0; i < count; i++) {
            used += Memory.getInt(Record.valueAddress(blocks[i]));
            elements += Memory.getInt(Record.valueAddress(blocks[i]) + 4);
        }
        ensureRoomForCleaning(Record.sizeOf(false, keyLength, (int) used + LIST_HEADER));
        boolean hadPrevious = supersede(Memory.getLong(lastSlot) & Chunks.ADDRESS_MASK);
        int header = Record.header(lastKeyGroup, lastIdentity) | (hadPrevious ? Record.HAS_PREV : 0);
        long joined = Record.valueAddress(swing(header, 0, key, keyLength, (int) used + LIST_HEADER));
        Memory.putInt(joined, (int) used);
        Memory.putInt(joined + 4, elements);
        long at = joined + LIST_HEADER;
        for (int i = count - 1; i >= 0; i--) {
            long block = Record.valueAddress(blocks[i]);
            Memory.copy(block + LIST_HEADER, at, Memory.getInt(block));
            at += Memory.getInt(block);
            if (i > 0) {
                Memory.putByte(at++, (byte) ',');
            }
        }
    }

    // --- walks -----------------------------------------------------------------------------------------------------------

    /** Every live record of a key group, in no order; the visitor must not write. */
    public void forEachRecord(int keyGroup, RecordVisitor visitor) throws Exception {
        for (long logical : index.slots(keyGroup - firstKeyGroup)) {
            visitor.visit(chunks.resolve(logical));
        }
    }

    /** The key group's records as of now, for callers that write while they go. */
    public RecordCursor records(int keyGroup) {
        long[] slots = index.slots(keyGroup - firstKeyGroup);
        long[] addresses = new long[slots.length];
        for (int i = 0; i < slots.length; i++) {
            addresses[i] = chunks.resolve(slots[i]);
        }
        long pin = pins.pin();
        return new RecordCursor(this, slots, addresses, () -> pins.unpin(pin));
    }

    public long recordCount(int identity) {
        return counts[identity];
    }

    /** Removes every record of a state. */
    public void dropState(int stateId) {
        for (int group = 0; group < index.keyGroupCount(); group++) {
            try (RecordCursor cursor = records(group + firstKeyGroup)) {
                for (long record = cursor.next(); record != 0; record = cursor.next()) {
                    if (Record.stateId(record) == stateId) {
                        remove(group + firstKeyGroup, Record.identity(record), Record.keyAddress(record), Record.keyLength(record));
                    }
                }
            }
        }
    }

    // --- epochs and snapshots --------------------------------------------------------------------------------------------

    /** The barrier: the current epoch's segments are sealed. Returns all segments, pinned until the view is closed. */
    public SnapshotView seal() {
        // What cleaning moves goes into the epoch that ends: it is in the snapshot.
        relieve();
        cleanForOthers(cleaner::spend);
        log.nextEpoch();
        chunks.releaseUnread();
        cleaner.barrier();
        List<SegmentView> views = log.sealedViews();
        long pin = pins.pin();
        return new SnapshotView(views, () -> pins.unpin(pin));
    }

    // --- restore ---------------------------------------------------------------------------------------------------------

    /** What follows belongs to one file. */
    public void beginRestoredSegment() {
        log.closeSegment();
        restoring = true;
        ascendingGroup = -1;
    }

    /** The file's entries of this key group come next; so many of them are records that the index will hold, about. */
    public void beginRestoredKeyGroup(int keyGroup, int records) {
        boolean isEmpty = index.isEmpty(keyGroup - firstKeyGroup);
        ascendingGroup = keyGroup;
        ascendingIdentity = isEmpty ? -1 : IDENTITIES;
        // Memory of nodes stays with the index, so nothing is taken in advance that the log might want.
        if (isEmpty && records > 0 && budget.usedBytes() + Index.BYTES_PER_RECORD * records < budget.limitBytes() * RESTORE_SHARE) {
            index.reserve(keyGroup - firstKeyGroup, records);
        }
    }

    /** An entry comes soon: what its lookup will read is fetched, for several at once, where one by one each would wait for memory. */
    public void announceRestored(int keyGroup, int identity, long key, int keyLength) {
        if (keyGroup != ascendingGroup || ascendingIdentity == IDENTITIES) {
            announced += index.firstSlot(keyGroup - firstKeyGroup, KeyHash.hash(identity, key, keyLength));
        }
    }

    /** An entry of the file; `flags` are the file's: 1 tombstone, 2 chained. */
    public void restoreEntry(
            int keyGroup, int identity, int flags, long key, int keyLength, long value, int valueLength) {
        boolean tombstone = (flags & 1) != 0;
        boolean chained = (flags & 2) != 0;
        makeRoom(Record.sizeOf(chained, keyLength, valueLength), identity);
        long found = findRestored(keyGroup, identity, key, keyLength);
        if (tombstone) {
            if (found != 0) {
                removeFound(key, keyLength, false);
            }
            append(Record.header(keyGroup, identity) | Record.TOMBSTONE, 0, key, keyLength, 0);
            return;
        }
        long record;
        if (found == 0) {
            record = insertNew(Record.header(keyGroup, identity), key, keyLength, valueLength);
        } else if (chained) {
            long head = Memory.getLong(lastSlot) & Chunks.ADDRESS_MASK;
            int header = Record.header(keyGroup, identity) | Record.CHAINED | Record.HAS_PREV;
            record = swing(header, head, key, keyLength, valueLength);
        } else {
            supersede(Memory.getLong(lastSlot) & Chunks.ADDRESS_MASK);
            record = swing(Record.header(keyGroup, identity) | Record.HAS_PREV, 0, key, keyLength, valueLength);
        }
        Memory.copy(value, Record.valueAddress(record), valueLength);
    }

    /**
     * Like {@link #find}, without looking when the key must be new: its key group had nothing before this file, and its hash is above those of all that the
     * file had of it so far. That is so for nearly all entries of the first file, because files are ordered by hash; where a file is not, the index is asked.
     */
    private long findRestored(int keyGroup, int identity, long key, int keyLength) {
        if (keyGroup != ascendingGroup) {
            beginRestoredKeyGroup(keyGroup, 0);
        }
        if (identity < ascendingIdentity) {
            return find(keyGroup, identity, key, keyLength);
        }
        long hash = KeyHash.hash(identity, key, keyLength);
        if (identity == ascendingIdentity && Long.compareUnsigned(hash, ascendingHash) <= 0) {
            return find(keyGroup, identity, key, keyLength);
        }
        ascendingIdentity = identity;
        ascendingHash = hash;
        lastKeyGroup = keyGroup;
        lastIdentity = identity;
        lastHash = hash;
        lastRecord = 0;
        lastMoves = moves;
        findStamp++;
        return 0;
    }

    /** The file's segment; null when it had nothing for this engine. It may be retired already, when memory is short. */
    public Segment endRestoredSegment() {
        Segment segment = log.open();
        log.closeSegment();
        restoring = false;
        // Files together hold more than what is alive, above all those of several former subtasks. Cleaning goes to a segment between the files.
        while (budget.usedBytes() > budget.limitBytes() * RESTORE_SHARE && log.usedBytes > log.liveBytes && cleaner.cleanNow()) {
            chunks.releaseUnread();
        }
        log.closeSegment();
        return segment;
    }

    // --- memory ----------------------------------------------------------------------------------------------------------

    private void makeRoom(long size, int identity) {
        if (!restoring) {
            cleaner.pay(size);
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

    /** Cleans when another engine of the slot has called for memory since the last look. */
    private void relieve() {
        int shortages = budget.shortages();
        if (shortages != shortagesSeen) {
            shortagesSeen = shortages;
            chunks.releaseUnread();
            cleanForOthers(cleaner::relieve);
            chunks.releaseUnread();
        }
    }

    /** Cleaning that nobody here waits for: without room to move records it stops, and neither a barrier nor a write fails for it. */
    private static void cleanForOthers(Runnable cleaning) {
        try {
            cleaning.run();
        } catch (SlimBaseException e) {
            if (e.kind() != SlimBaseException.Kind.Throttled) {
                throw e;
            }
        }
    }

    boolean isMemoryShort() {
        return budget.usedBytes() > budget.limitBytes() * SHORT_SHARE;
    }

    void ensureRoomForCleaning(long size) {
        if (!log.hasRoom(size)) {
            boolean force = budget.usedBytes() < budget.limitBytes() + CLEANING_OVERDRAFT;
            if (!log.addChunk(size, force, log.epoch())) {
                throw full(lastIdentity, size);
            }
        }
    }

    private void reclaim(long size, int identity, java.util.function.BooleanSupplier attempt) {
        while (!attempt.getAsBoolean()) {
            if (chunks.releaseUnread()) {
                continue;
            }
            if (!restoring && cleaner.cleanNow()) {
                continue;
            }
            long stamp = chunks.oldestDeferred();
            if (stamp >= 0 && pins.awaitChange(stamp, SNAPSHOT_WAIT_MS)) {
                continue;
            }
            if (!hasNeighbours() || !budget.awaitLess(budget.usedBytes(), NEIGHBOUR_WAIT_MS)) {
                throw full(identity, size);
            }
        }
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
        long found = find(Record.keyGroup(record), Record.identity(record), key, keyLength);
        if ((flags & Record.TOMBSTONE) != 0) {
            cleanTombstone(record, found, key, keyLength, victim);
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

    private void cleanTombstone(long record, long found, long key, int keyLength, Segment victim) {
        long size = Record.size(record);
        victim.liveBytes -= size;
        victim.tombstoneBytes -= size;
        log.liveBytes -= size;
        log.tombstoneBytes -= size;
        if (found != 0) {
            Record.addFlag(found, Record.HAS_PREV);
        } else if (log.hasOlder(victim)) {
            append(Record.header(lastKeyGroup, lastIdentity) | Record.TOMBSTONE, 0, key, keyLength, 0);
        }
        if (victim.epoch() == log.epoch()) {
            Record.addFlag(record, Record.DEAD);
        }
    }

    private void cleanLive(long record, long logical, long key, int keyLength, Segment victim) {
        RecordFilter filter = filters[Record.stateId(record)];
        moves++;
        lastMoves = moves;
        if (filter != null && !Record.has(record, Record.AUX) && !filter.keep(record)) {
            // An older version in a file may be anything: a map that had pages, an entry that was removed since.
            removeFound(key, keyLength, Record.has(record, Record.HAS_PREV) && log.hasOlder(victim));
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

    // --- filters, statistics ---------------------------------------------------------------------------------------------

    /** Asked when records move; null: keep all. */
    public void setFilter(int stateId, RecordFilter filter) {
        filters[stateId] = filter;
        filtered |= filter != null;
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

    public long liveBytes() {
        return log.liveBytes;
    }

    public long liveBytes(int identity) {
        return bytes[identity];
    }

    /** Chunks in memory, also those that only a snapshot still reads. */
    public long logBytes() {
        return chunks.allocatedBytes();
    }

    public long indexBytes() {
        return nodes.allocatedBytes();
    }

    public int segmentCount() {
        return log.segments().size();
    }

    /** Numbers of the segments that are not retired, oldest first. */
    public List<Long> segmentNumbers() {
        return new ArrayList<>(log.segments().keySet());
    }

    /** Address of the control block, current until the next writing call. */
    public long controlBlock() {
        Memory.putInt(control, 0x534C4D42);
        Memory.putInt(control + 4, 1);
        Memory.putLong(control + 8, index.table);
        Memory.putLong(control + 16, chunks.table);
        Memory.putInt(control + 24, firstKeyGroup);
        Memory.putInt(control + 28, index.keyGroupCount());
        Memory.putInt(control + 32, chunks.length());
        Memory.putInt(control + 36, 0);
        Memory.zero(control + 40, 24);
        return control;
    }

    /** Frees all memory; what a snapshot still reads when the last one is closed. */
    @Override
    public void close() {
        if (!closed) {
            closed = true;
            nodes.close();
            index.close();
            Memory.free(control);
            pins.whenFree(chunks::close);
        }
    }
}
