package io.headrace.slimbase.engine;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The files below memory, all of them older than every record in memory. Task thread.
 *
 * <p>Files form runs, in order of age; those of one run share no key group, so a key is in one file of a run at most. A lookup asks the filters
 * from the newest run to the oldest and reads where one says maybe; it ends at a whole value or a tombstone. Pieces of a list that it meets on the
 * way are joined with what they continue.
 */
final class ColdTier {
    private static final int TOMBSTONE = 1;
    private static final int CHAINED = 2;

    /** A file that was merged away and that snapshots may still read. */
    private static final class Deferred {
        final ColdFile file;
        final long stamp;

        Deferred(ColdFile file, long stamp) {
            this.file = file;
            this.stamp = stamp;
        }
    }

    /** Files without a common key group. */
    static final class Run {
        final List<ColdFile> files = new ArrayList<>();
        /** By key group of the engine, from its first one on; null where no file has it. */
        private final ColdFile[] byGroup;

        private final int firstKeyGroup;

        Run(int firstKeyGroup, int keyGroupCount) {
            this.firstKeyGroup = firstKeyGroup;
            this.byGroup = new ColdFile[keyGroupCount];
        }

        /** Adds the file unless one of its key groups has a file already. */
        boolean add(ColdFile file) {
            int first = Math.max(0, file.firstKeyGroup() - firstKeyGroup);
            int last = Math.min(byGroup.length - 1, file.lastKeyGroup() - firstKeyGroup);
            for (int group = first; group <= last; group++) {
                if (byGroup[group] != null) {
                    return false;
                }
            }
            for (int group = first; group <= last; group++) {
                byGroup[group] = file;
            }
            files.add(file);
            return true;
        }

        long bytes() {
            long sum = 0;
            for (ColdFile file : files) {
                sum += file.bytes();
            }
            return sum;
        }
    }

    private final MemoryBudget budget;
    private final Pins pins;
    private final int firstKeyGroup;
    private final int keyGroupCount;
    private final ScratchRecords scratch = new ScratchRecords();
    private final ArrayDeque<Deferred> deferred = new ArrayDeque<>();
    /** Oldest first. */
    private Run[] runs = new Run[8];

    private int count;
    private long memoryBytes;
    private int fileCount;
    private long bytes;

    /** Pieces of the lookup that is under way: their bytes, one after the other, and for each its offset, length and flags, newest file first. */
    private long pieces = Memory.allocate(4096);

    private long piecesCapacity = 4096;
    private long piecesUsed;
    private long[] pieceOffsets = new long[8];
    private int[] pieceLengths = new int[8];
    private int[] pieceFlags = new int[8];
    private int pieceCount;

    private final ColdFile.PieceVisitor keeper = this::keepPiece;

    long lookups;
    long fileReads;
    long falseReads;

    ColdTier(MemoryBudget budget, Pins pins, int firstKeyGroup, int keyGroupCount) {
        this.budget = budget;
        this.pins = pins;
        this.firstKeyGroup = firstKeyGroup;
        this.keyGroupCount = keyGroupCount;
    }

    boolean isEmpty() {
        return count == 0;
    }

    int runCount() {
        return count;
    }

    /** Oldest first. */
    List<ColdFile> files() {
        return files(0, count);
    }

    /** The files of some runs, oldest first. */
    List<ColdFile> files(int fromRun, int toRun) {
        List<ColdFile> all = new ArrayList<>();
        for (int i = fromRun; i < toRun; i++) {
            all.addAll(runs[i].files);
        }
        return all;
    }

    /** Bytes of each run, oldest first. */
    long[] runBytes() {
        long[] bytes = new long[count];
        for (int i = 0; i < count; i++) {
            bytes[i] = runs[i].bytes();
        }
        return bytes;
    }

    /** The run, by whose identity {@link #replace} finds it again. */
    Run run(int index) {
        return runs[index];
    }

    /** The files, newest first, that have something of the key group. */
    List<ColdFile> filesOf(int keyGroup) {
        List<ColdFile> found = new ArrayList<>();
        for (int i = count - 1; i >= 0; i--) {
            ColdFile file = runs[i].byGroup[keyGroup - firstKeyGroup];
            if (file != null) {
                found.add(file);
            }
        }
        return found;
    }

    /** Length of all files. */
    long bytes() {
        return bytes;
    }

    int fileCount() {
        return fileCount;
    }

    /** What filters and block indexes take of the budget. */
    long memoryBytes() {
        return memoryBytes;
    }

    /** Adds a file that is newer than all others, as a run of its own. Its index is charged even beyond the budget: what it makes room for is far more. */
    void addNewest(ColdFile file) {
        charge(file);
        Run run = new Run(firstKeyGroup, keyGroupCount);
        run.add(file);
        insert(count, run);
    }

    /**
     * Adds a file that is newer than all others where key groups are common. It joins the oldest run that is not older than such a file, so that
     * files of former subtasks come to lie beside each other.
     */
    void add(ColdFile file) {
        charge(file);
        int at = count;
        while (at > 0 && isDisjoint(runs[at - 1], file)) {
            at--;
        }
        if (at < count) {
            runs[at].add(file);
            return;
        }
        Run run = new Run(firstKeyGroup, keyGroupCount);
        run.add(file);
        insert(count, run);
    }

    private static boolean isDisjoint(Run run, ColdFile file) {
        for (ColdFile each : run.files) {
            if (each.firstKeyGroup() <= file.lastKeyGroup() && file.firstKeyGroup() <= each.lastKeyGroup()) {
                return false;
            }
        }
        return true;
    }

    private void insert(int at, Run run) {
        if (count == runs.length) {
            runs = Arrays.copyOf(runs, count * 2);
        }
        System.arraycopy(runs, at, runs, at + 1, count - at);
        runs[at] = run;
        count++;
    }

    private void charge(ColdFile file) {
        long index = file.memoryBytes();
        if (!budget.tryReserve(index)) {
            budget.release(-index);
        }
        memoryBytes += index;
        bytes += file.bytes();
        fileCount++;
    }

    private void discharge(ColdFile file) {
        memoryBytes -= file.memoryBytes();
        budget.release(file.memoryBytes());
        bytes -= file.bytes();
        fileCount--;
    }

    /** Puts merged files, which share no key group, in the place of the runs that they were made of, which stand next to each other. */
    void replace(List<Run> old, List<ColdFile> merged) {
        int first = Arrays.asList(runs).indexOf(old.get(0));
        assert first >= 0 && runs[first + old.size() - 1] == old.get(old.size() - 1) : "runs have moved";
        System.arraycopy(runs, first + old.size(), runs, first, count - first - old.size());
        count -= old.size();
        Arrays.fill(runs, count, count + old.size(), null);
        if (!merged.isEmpty()) {
            Run run = new Run(firstKeyGroup, keyGroupCount);
            for (ColdFile file : merged) {
                charge(file);
                boolean added = run.add(file);
                assert added : "merged files overlap";
            }
            insert(first, run);
        }
        for (Run each : old) {
            for (ColdFile file : each.files) {
                discharge(file);
                deferred.add(new Deferred(file, pins.stamp()));
            }
        }
        closeUnread();
    }

    /** Deletes merged files that no snapshot reads any more. */
    void closeUnread() {
        deferred.removeIf(this::closeIfUnread);
    }

    private boolean closeIfUnread(Deferred merged) {
        boolean isUnread = merged.file.readers().get() == 0 && pins.isFree(merged.stamp);
        if (isUnread) {
            merged.file.close(true);
        }
        return isUnread;
    }

    boolean mayContain(int keyGroup, long hash) {
        int group = keyGroup - firstKeyGroup;
        for (int i = count - 1; i >= 0; i--) {
            ColdFile file = runs[i].byGroup[group];
            if (file != null && file.mayContain(hash)) {
                return true;
            }
        }
        return false;
    }

    void willNeed(int keyGroup, int identity, long hash) {
        int group = keyGroup - firstKeyGroup;
        for (int i = count - 1; i >= 0; i--) {
            ColdFile file = runs[i].byGroup[group];
            if (file != null && file.mayContain(hash)) {
                file.willNeed(keyGroup, identity, hash);
                return;
            }
        }
    }

    /** A record with the key's value, made for the caller, or 0, as the runs but for the newest `without` have it. It holds for some dozen further lookups. */
    long find(int keyGroup, int identity, long hash, long key, int keyLength, int without) {
        int group = keyGroup - firstKeyGroup;
        lookups++;
        pieceCount = 0;
        piecesUsed = 0;
        for (int i = count - 1 - without; i >= 0; i--) {
            ColdFile file = runs[i].byGroup[group];
            if (file == null || !file.mayContain(hash)) {
                continue;
            }
            fileReads++;
            int from = pieceCount;
            if (file.find(keyGroup, identity, hash, key, keyLength, keeper) == 0) {
                falseReads++;
                continue;
            }
            boolean ends = (pieceFlags[from] & CHAINED) == 0;
            reverse(from);
            if (ends) {
                break;
            }
        }
        return assemble(Record.header(keyGroup, identity), key, keyLength);
    }

    private void keepPiece(int flags, long value, int valueLength) {
        if (pieceCount == pieceOffsets.length) {
            pieceOffsets = Arrays.copyOf(pieceOffsets, pieceCount * 2);
            pieceLengths = Arrays.copyOf(pieceLengths, pieceCount * 2);
            pieceFlags = Arrays.copyOf(pieceFlags, pieceCount * 2);
        }
        if (piecesUsed + valueLength > piecesCapacity) {
            piecesCapacity = (piecesUsed + valueLength) * 2;
            pieces = Memory.reallocate(pieces, piecesCapacity);
        }
        Memory.copy(value, pieces + piecesUsed, valueLength);
        pieceOffsets[pieceCount] = piecesUsed;
        pieceLengths[pieceCount] = valueLength;
        pieceFlags[pieceCount++] = flags;
        piecesUsed += valueLength;
    }

    /** A file hands pieces out oldest first, the files come newest first. */
    private void reverse(int from) {
        for (int low = from, high = pieceCount - 1; low < high; low++, high--) {
            long offset = pieceOffsets[low];
            int length = pieceLengths[low];
            int flags = pieceFlags[low];
            pieceOffsets[low] = pieceOffsets[high];
            pieceLengths[low] = pieceLengths[high];
            pieceFlags[low] = pieceFlags[high];
            pieceOffsets[high] = offset;
            pieceLengths[high] = length;
            pieceFlags[high] = flags;
        }
    }

    private long assemble(int header, long key, int keyLength) {
        if (pieceCount > 0 && (pieceFlags[pieceCount - 1] & TOMBSTONE) != 0) {
            pieceCount--;
        }
        if (pieceCount == 0) {
            return 0;
        }
        if (pieceCount == 1) {
            long record = begin(header, key, keyLength, pieceLengths[0]);
            Memory.copy(pieces + pieceOffsets[0], Record.valueAddress(record), pieceLengths[0]);
            return record;
        }
        long[] blocks = new long[pieceCount];
        for (int i = 0; i < pieceCount; i++) {
            blocks[i] = pieces + pieceOffsets[i];
        }
        long record = begin(header, key, keyLength, Math.toIntExact(ListBlocks.joinedLength(blocks, pieceCount)));
        ListBlocks.join(blocks, pieceCount, Record.valueAddress(record));
        return record;
    }

    private long begin(int header, long key, int keyLength, int valueLength) {
        long record = scratch.take(Record.sizeOf(false, keyLength, valueLength));
        Record.write(record, header, 0, key, keyLength, valueLength);
        return record;
    }

    /** No snapshot may be reading. */
    void close() {
        while (!deferred.isEmpty()) {
            deferred.poll().file.close(true);
        }
        for (ColdFile file : files()) {
            discharge(file);
            file.close(true);
        }
        count = 0;
        scratch.close();
        Memory.free(pieces);
    }
}
