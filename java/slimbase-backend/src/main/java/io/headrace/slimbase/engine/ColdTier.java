package io.headrace.slimbase.engine;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Predicate;

/**
 * The files below memory, all of them older than every record in memory. Task thread.
 *
 * <p>Files form runs, in order of age; those of one run share no key group, so a key is in one file of a run at most. A lookup asks the filters
 * from the newest run to the oldest and reads where one says maybe; it ends at a whole value or a tombstone. Pieces of a list that it meets on the
 * way are joined with what they continue.
 */
final class ColdTier {
    /** A file that was merged away and that snapshots may still read. */
    private static final class Deferred {
        final ColdFile file;
        final long stamp;

        Deferred(ColdFile file, long stamp) {
            this.file = file;
            this.stamp = stamp;
        }
    }

    private final MemoryBudget budget;
    private final Pins pins;
    private final int firstKeyGroup;
    private final int keyGroupCount;
    private final FoundPieces pieces = new FoundPieces();
    private final ArrayDeque<Deferred> deferred = new ArrayDeque<>();
    /** Oldest first. */
    private ColdRun[] runs = new ColdRun[8];

    private int count;
    private long memoryBytes;
    private int fileCount;
    private long bytes;
    /** Estimate; any thread may look. */
    private long deadBytes;
    /** Key groups whose restored files were told to open; null when nothing was restored. */
    private boolean[] isOpening;

    long lookups;
    long fileReads;
    long falseReads;
    long expiredFiles;
    long expiredBytes;

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

    /** What merges are chosen by. */
    MergePolicy.Figures figures() {
        MergePolicy.Figures figures = new MergePolicy.Figures(count);
        for (int older = 0; older < count; older++) {
            figures.sizes[older] = runs[older].bytes();
            figures.indexes[older] = runs[older].memoryBytes();
            figures.tombstones[older] = runs[older].tombstoneBytes();
            for (int newer = older + 1; newer < count; newer++) {
                figures.dead[older][newer] = runs[older].deadFor.getOrDefault(runs[newer], 0L);
            }
        }
        return figures;
    }

    /** The newest run has a whole value or a tombstone of the key: what an older one has of it is dead. So many keys like it are not told of. */
    void supersede(int keyGroup, int identity, long hash, int alike) {
        int group = keyGroup - firstKeyGroup;
        for (int i = count - 2; i >= 0; i--) {
            ColdFile file = runs[i].byGroup[group];
            if (file != null && file.mayContain(hash)) {
                long dead = (long) file.meanEntryBytes(identity) * alike;
                runs[i].deadFor.merge(runs[count - 1], dead, Long::sum);
                deadBytes += dead;
                return;
            }
        }
    }

    /** The run, by whose identity {@link #replace} finds it again. */
    ColdRun run(int index) {
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

    /** What newer files have replaced or deleted, estimated from a sample by filters, so far as the files were written by this engine. */
    long deadBytes() {
        return Math.min(bytes, deadBytes);
    }

    /** What filters and block indexes take of the budget. */
    long memoryBytes() {
        return memoryBytes;
    }

    /** Adds a file that is newer than all others, as a run of its own. Its index is charged even beyond the budget: what it makes room for is far more. */
    void addNewest(ColdFile file) {
        charge(file);
        ColdRun run = new ColdRun(firstKeyGroup, keyGroupCount);
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
        ColdRun run = new ColdRun(firstKeyGroup, keyGroupCount);
        run.add(file);
        insert(count, run);
    }

    private static boolean isDisjoint(ColdRun run, ColdFile file) {
        for (ColdFile each : run.files) {
            if (each.firstKeyGroup() <= file.lastKeyGroup() && file.firstKeyGroup() <= each.lastKeyGroup()) {
                return false;
            }
        }
        return true;
    }

    private void insert(int at, ColdRun run) {
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

    /**
     * Puts merged files, which share no key group, in the place of the runs that they were made of, which stand next to each other. What was dead for the
     * witnesses is gone. The old files' indexes leave memory before the new ones' come, so that even where all is merged they need no more than before.
     */
    void replace(List<ColdRun> old, List<ColdRun> witnesses, List<ColdFile> merged) {
        int first = Arrays.asList(runs).indexOf(old.get(0));
        assert first >= 0 && runs[first + old.size() - 1] == old.get(old.size() - 1) : "runs have moved";
        System.arraycopy(runs, first + old.size(), runs, first, count - first - old.size());
        count -= old.size();
        Arrays.fill(runs, count, count + old.size(), null);
        for (ColdRun each : old) {
            for (ColdFile file : each.files) {
                file.endLookups();
                discharge(file);
                deferred.add(new Deferred(file, pins.stamp()));
            }
        }
        if (!merged.isEmpty()) {
            ColdRun run = new ColdRun(firstKeyGroup, keyGroupCount);
            for (ColdFile file : merged) {
                charge(file);
                boolean added = run.add(file);
                assert added : "merged files overlap";
                file.openSoon();
            }
            insert(first, run);
            inheritDead(old, witnesses, run);
        }
        countDead();
        closeUnread();
    }

    /** What is dead for a merged run is dead for the new one; what is dead in it for newer ones stays dead. */
    private void inheritDead(List<ColdRun> old, List<ColdRun> witnesses, ColdRun merged) {
        for (ColdRun each : old) {
            each.deadFor.forEach((newer, dead) -> {
                if (!old.contains(newer) && !witnesses.contains(newer)) {
                    merged.deadFor.merge(newer, dead, Long::sum);
                }
            });
        }
        for (int i = 0; i < count; i++) {
            for (ColdRun each : old) {
                Long dead = runs[i].deadFor.remove(each);
                if (dead != null) {
                    runs[i].deadFor.merge(merged, dead, Long::sum);
                }
            }
        }
    }

    private void countDead() {
        long sum = 0;
        for (int i = 0; i < count; i++) {
            sum += runs[i].deadBytes();
        }
        deadBytes = sum;
    }

    /**
     * Lets go of files in which all has expired, and of those with nothing but tombstones, from the oldest on: as long as an older file with a common
     * key group stays, what it has might come back. Nothing is read or written. True when there were any.
     *
     * @param busy runs whose files stay
     */
    boolean dropExpired(Predicate<ColdFile> hasExpired, List<ColdRun> busy) {
        boolean[] hasOlder = new boolean[keyGroupCount];
        int before = fileCount;
        int kept = 0;
        for (int i = 0; i < count; i++) {
            ColdRun run = runs[i];
            for (ColdFile file : List.copyOf(run.files)) {
                if (!busy.contains(run) && !isAny(file, hasOlder) && hasExpired.test(file)) {
                    run.remove(file);
                    discharge(file);
                    expiredFiles++;
                    expiredBytes += file.bytes();
                    deferred.add(new Deferred(file, pins.stamp()));
                }
            }
            for (int group = 0; group < keyGroupCount; group++) {
                hasOlder[group] |= run.byGroup[group] != null;
            }
            runs[kept] = run;
            kept += run.files.isEmpty() ? 0 : 1;
        }
        Arrays.fill(runs, kept, count, null);
        count = kept;
        List<ColdRun> left = List.of(Arrays.copyOf(runs, count));
        for (ColdRun run : left) {
            run.deadFor.keySet().retainAll(left);
        }
        countDead();
        closeUnread();
        return fileCount < before;
    }

    private boolean isAny(ColdFile file, boolean[] groups) {
        int last = Math.min(groups.length - 1, file.lastKeyGroup() - firstKeyGroup);
        for (int group = Math.max(0, file.firstKeyGroup() - firstKeyGroup); group <= last; group++) {
            if (groups[group]) {
                return true;
            }
        }
        return false;
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

    /** Adds a file that a former engine wrote, newest last: it may be there before it is open. */
    void addRestored(ColdFile file) {
        add(file);
        if (isOpening == null) {
            isOpening = new boolean[keyGroupCount];
        }
    }

    /** A lookup asks one file of each run, one after the other: those that are not open yet are opened together. */
    private void openTogether(int group) {
        if (isOpening == null || isOpening[group]) {
            return;
        }
        isOpening[group] = true;
        for (int i = count - 1; i >= 0; i--) {
            ColdFile file = runs[i].byGroup[group];
            if (file != null) {
                file.openSoon();
            }
        }
    }

    boolean mayContain(int keyGroup, long hash) {
        int group = keyGroup - firstKeyGroup;
        openTogether(group);
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
        openTogether(group);
        lookups++;
        pieces.clear();
        for (int i = count - 1 - without; i >= 0; i--) {
            ColdFile file = runs[i].byGroup[group];
            if (file == null || !file.mayContain(hash)) {
                continue;
            }
            fileReads++;
            pieces.beginFile();
            if (file.find(keyGroup, identity, hash, key, keyLength, pieces) == 0) {
                falseReads++;
                continue;
            }
            if (pieces.endFile()) {
                break;
            }
        }
        return pieces.record(Record.header(keyGroup, identity), key, keyLength);
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
        pieces.close();
    }
}
