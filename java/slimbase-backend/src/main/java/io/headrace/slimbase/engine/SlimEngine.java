package io.headrace.slimbase.engine;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The state of one operator subtask: an index per key group over an append-only log in memory, as docs/concepts/slimbase-format.md lays it out, and,
 * with a store, files below it for what memory has no room for.
 *
 * <p>One thread. Results of lookups are memory addresses that hold until the next writing call. Every write first makes room (which may clean,
 * and so move records), then looks the key up, then writes; nothing is half done when there is no room.
 */
public final class SlimEngine extends EngineMemory implements AutoCloseable {
    /** Share of the budget from which on a restore makes room between two files, so that the next one fits. */
    private static final double RESTORE_SHARE = 0.8;

    private final ColdStore store;
    private final long control = Memory.allocate(64);
    private boolean closed;

    /** Of the file being restored: the key group that it is at, the highest identity and hash it had of it; no identity is above {@link #IDENTITIES}. */
    private int ascendingGroup = -1;

    private int ascendingIdentity;
    private long ascendingHash;
    /** Keeps the compiler from leaving the reads of {@link #announceRestored} out. */
    private long announced;

    /** An engine that keeps everything in memory. */
    public SlimEngine(
            MemoryBudget budget, Allocator allocator, int firstKeyGroup, int keyGroupCount, EngineListener listener) {
        this(budget, allocator, new KeyGroupSpan(firstKeyGroup, keyGroupCount), listener, null);
    }

    /** An engine that moves to the store what memory has no room for; null: to nowhere. The store is closed with the engine. */
    public SlimEngine(MemoryBudget budget, Allocator allocator, KeyGroupSpan keyGroups, EngineListener listener, ColdStore store) {
        super(budget, allocator, keyGroups, listener, store);
        this.store = store;
    }

    // --- lists -----------------------------------------------------------------------------------------------------------

    /** Adds a serialized element to the list; never reads or moves what the list has. */
    public void appendToList(int keyGroup, int identity, long key, int keyLength, long element, int elementLength) {
        long record = findInMemory(keyGroup, identity, key, keyLength);
        if (record != 0 && isCurrentEpoch(record) && ListBlocks.appendInPlace(record, element, elementLength)) {
            return;
        }
        int valueLength =
                record == 0 ? ListBlocks.HEADER + elementLength + ListBlocks.FIRST_SPARE : ListBlocks.nextLength(record, elementLength);
        makeRoom(Record.sizeOf(true, keyLength, valueLength), identity);
        if (lastMoves != moves) {
            record = findInMemory(keyGroup, identity, key, keyLength);
        }
        long block;
        if (record == 0) {
            // What a file may have is not read: the block continues it, if it is there.
            boolean continues = mayBeInFiles();
            countNew(continues);
            int flags = continues ? Record.CHAINED | Record.HAS_PREV : 0;
            block = insertNew(Record.header(keyGroup, identity) | flags, key, keyLength, valueLength);
        } else {
            boolean sealed = !log.isCurrent(Chunks.number(Memory.getLong(lastSlot)));
            long head = Memory.getLong(lastSlot) & Chunks.ADDRESS_MASK;
            int flags = Record.CHAINED | (sealed || Record.has(record, Record.HAS_PREV) ? Record.HAS_PREV : 0);
            block = swing(Record.header(keyGroup, identity) | flags, head, key, keyLength, valueLength);
        }
        ListBlocks.start(Record.valueAddress(block), element, elementLength);
    }

    /** Replaces the list by these elements, already joined with `,`. */
    public void putList(int keyGroup, int identity, long key, int keyLength, long elements, int length, int count) {
        long record = putUninitialized(keyGroup, identity, key, keyLength, ListBlocks.HEADER + length);
        long block = Record.valueAddress(record);
        Memory.putInt(block, length);
        Memory.putInt(block + 4, count);
        Memory.copy(elements, block + ListBlocks.HEADER, length);
    }

    // --- walks -----------------------------------------------------------------------------------------------------------

    /** Every live record of a key group, in no order; the visitor must not write. */
    public void forEachRecord(int keyGroup, RecordVisitor visitor) throws Exception {
        long pin = pins.pin();
        walks++;
        try (ColdWalk walk = new ColdWalk(this, keyGroup, tier.filesOf(keyGroup))) {
            for (long logical : index.slots(keyGroup - firstKeyGroup)) {
                long record = chunks.resolve(logical);
                if (!Record.has(record, Record.TOMBSTONE)) {
                    visitor.visit(record);
                }
            }
            for (long record = walk.next(); record != 0; record = walk.next()) {
                visitor.visit(record);
            }
        } finally {
            walks--;
            pins.unpin(pin);
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
        RecordCursor cursor = new RecordCursor(this, keyGroup, addresses, () -> pins.unpin(pin));
        walks++;
        try (ColdWalk walk = new ColdWalk(this, keyGroup, tier.filesOf(keyGroup))) {
            for (long record = walk.next(); record != 0; record = walk.next()) {
                cursor.addCold(record);
            }
        } catch (RuntimeException e) {
            cursor.close();
            throw e;
        } finally {
            walks--;
        }
        return cursor;
    }

    /** Whether memory has the key's newest version, a tombstone too. */
    boolean isInMemory(int keyGroup, int identity, long key, int keyLength) {
        return findInMemory(keyGroup, identity, key, keyLength) != 0 || lastSlot != index.nowhere;
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
        unguard();
        chunks.releaseUnread();
        if (spiller != null) {
            spiller.collect();
        }
        tier.closeUnread();
        cleaner.barrier();
        List<SegmentView> views = new ArrayList<>();
        tier.files().forEach(file -> views.add(new SegmentView(file)));
        views.addAll(log.sealedViews(spiller == null ? null : spiller.leaving()));
        return new SnapshotView(views, pins);
    }

    // --- restore ---------------------------------------------------------------------------------------------------------

    /** What follows belongs to one file. */
    public void beginRestoredSegment() {
        log.closeSegment();
        restoring = true;
        restoredWhole = true;
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
            restoreTombstone(found, key, keyLength);
            return;
        }
        long record;
        if (found == 0) {
            // What was restored before may have left memory again: a piece of a list continues it there.
            boolean continues = mayBeInFiles();
            countNew(continues);
            int continuing = continues ? Record.HAS_PREV | (chained ? Record.CHAINED : 0) : 0;
            record = insertNew(Record.header(keyGroup, identity) | continuing, key, keyLength, valueLength);
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

    private void restoreTombstone(long found, long key, int keyLength) {
        int header = Record.header(lastKeyGroup, lastIdentity) | Record.TOMBSTONE;
        if (found != 0) {
            removeFound(key, keyLength, true);
        } else if (lastSlot != index.nowhere) {
            swing(header, 0, key, keyLength, 0);
        } else {
            counts[lastIdentity] -= mayBeInFiles() ? 1 : 0;
            prepareInsert(Record.sizeOf(false, keyLength, 0));
            insert(append(header, 0, key, keyLength, 0));
        }
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
            return findInMemory(keyGroup, identity, key, keyLength);
        }
        long hash = KeyHash.hash(identity, key, keyLength);
        if (identity == ascendingIdentity && Long.compareUnsigned(hash, ascendingHash) <= 0) {
            return findInMemory(keyGroup, identity, key, keyLength);
        }
        ascendingIdentity = identity;
        ascendingHash = hash;
        lastKeyGroup = keyGroup;
        lastIdentity = identity;
        lastHash = hash;
        lastRecord = 0;
        lastSlot = index.nowhere;
        lastMoves = moves;
        findStamp++;
        return 0;
    }

    /** What the budget has left. */
    public long freeBytes() {
        return budget.limitBytes() - budget.usedBytes();
    }

    /** A number for a file that will be added. */
    public long takeNumber() {
        return log.takeNumber();
    }

    /** Takes a file of a checkpoint as it is: its entries are newer than those of the files before, and are read when they are asked for. */
    public void addRestoredFile(ColdFile file) {
        assert log.segments().isEmpty() : "files are older than what is in memory";
        tier.addRestored(file);
        tierChanged();
    }

    /** The file's segment; null when it had nothing for this engine or went to several. It may be retired already, when memory is short. */
    public Segment endRestoredSegment() {
        Segment segment = restoredWhole ? log.open() : null;
        log.closeSegment();
        restoring = false;
        // Files together hold more than what is alive, above all those of several former subtasks. Cleaning goes to a segment between the files.
        while (budget.usedBytes() > budget.limitBytes() * RESTORE_SHARE && log.usedBytes > log.liveBytes && cleaner.cleanNow()) {
            chunks.releaseUnread();
        }
        log.closeSegment();
        return segment;
    }

    // --- filters, statistics ---------------------------------------------------------------------------------------------

    /** Asked when records move; null: keep all. */
    public void setFilter(int stateId, RecordFilter filter) {
        filters[stateId] = filter;
        filtered |= filter != null;
    }

    /** Whether files are being merged in the background. */
    public boolean isMerging() {
        return spiller != null && spiller.isMerging();
    }

    /** What is where, and what moving it has cost. */
    public TierStatistics tierStatistics() {
        return new TierStatistics(log, chunks, nodes, tier, spiller, cache, () -> lookups, () -> Arrays.stream(counts).sum());
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

    /** Files of packed segments, oldest first. */
    public List<ColdFile> files() {
        return tier.files();
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
            if (spiller != null) {
                spiller.close();
                cache.close();
            }
            unguard();
            nodes.close();
            index.close();
            Memory.free(control);
            pins.whenFree(this::closeFiles);
        }
    }

    private void closeFiles() {
        chunks.close();
        tier.close();
        if (store != null) {
            store.close();
        }
    }
}
