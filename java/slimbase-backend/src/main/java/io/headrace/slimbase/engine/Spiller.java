package io.headrace.slimbase.engine;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;

/**
 * Moves the oldest sealed segment to a file when memory runs short, and has files merged when they become many. Task thread; packing and merging
 * are done in the background by the {@link ColdStore}.
 *
 * <p>One segment at a time: it is packed (it stays readable in memory meanwhile); then its file joins the tier; then the index lets go of the
 * segment's records, in steps paid for by appends, and its chunks are freed. So what is in files is always older than what is in memory, which
 * is what lookups rely on: what the index has, is the newest.
 */
final class Spiller {
    /** Where less than this is alive, copying the rest is cheaper than a file. */
    private static final double WORTH_PACKING = 0.5;
    /** Bytes let go of for each byte appended. */
    private static final int PACE = 8;
    private static final long LEAST_STEP = 4 << 10;
    /** How long an append waits for a file in the making before it gives up. */
    private static final long PACK_WAIT_MS = 120_000;
    /** After a failure, so long nothing is packed unless an append has to wait for it. */
    private static final long RETRY_NS = TimeUnit.SECONDS.toNanos(5);

    /** One key in so many: the smallest segments have 2,000, and 16 filters cost as much as a lookup. */
    private static final int DEAD_SAMPLE = 16;

    private final EngineMemory engine;
    private final Log log;
    private final Chunks chunks;
    private final ColdTier tier;
    private final Pins pins;
    private final ColdStore store;

    private Segment victim;
    private Future<ColdFile> packing;
    private long packPin;
    private long offset;
    private Future<List<ColdFile>> merging;
    private List<ColdRun> mergingRuns = List.of();
    private List<ColdRun> witnesses = List.of();
    private long mergePin;
    private long mergeInputBytes;
    private long mergeFrom;
    private long seenAppended;
    private final MergePace pace = new MergePace(System.nanoTime());
    private RuntimeException failure;
    private long failedAt;

    long packedSegments;
    long packedBytes;
    long merges;
    long mergedBytes;
    long mergeFailures;
    long waitedNs;

    Spiller(EngineMemory engine, Log log, Chunks chunks, ColdTier tier, Pins pins, ColdStore store) {
        this.engine = engine;
        this.log = log;
        this.chunks = chunks;
        this.tier = tier;
        this.pins = pins;
        this.store = store;
    }

    /** The segment whose file has joined the tier and that has not left memory yet, or null. */
    Segment leaving() {
        return packing == null ? victim : null;
    }

    /** Whether the record lies in the segment whose file has joined the tier and that has not left memory yet. */
    boolean isLeaving(long record) {
        if (leaving() != null) {
            for (int i = 0; i < victim.chunkCount(); i++) {
                long start = chunks.address(victim.chunk(i));
                if (record >= start && record < start + chunks.used[victim.chunk(i)]) {
                    return true;
                }
            }
        }
        return false;
    }

    /** Called before an append of so many bytes, and now and then by readers. */
    void pay(long appendedBytes) {
        if (merging != null && merging.isDone()) {
            finishMerge();
        }
        if (packing != null) {
            if (packing.isDone()) {
                beginLetGo();
            }
        } else if (victim != null) {
            letGo(Math.max(LEAST_STEP, appendedBytes * PACE));
        } else if (engine.isUnderPressure() && (failure == null || System.nanoTime() - failedAt > RETRY_NS)) {
            start(false);
        }
    }

    /** Where merges do not keep up although they have the disk, whoever writes waits a little each time, for what was appended since the last. */
    void waitForMerge() {
        long appended = log.appendedBytes - seenAppended;
        seenAppended = log.appendedBytes;
        long wait = merging == null ? 0 : pace.waitNs(appended, tier.runCount());
        if (wait > 0) {
            LockSupport.parkNanos(wait);
            waitedNs += wait;
        }
    }

    /** Whether letting go of records or waiting for a file can give memory back. */
    boolean makeProgress() {
        if (merging != null && merging.isDone()) {
            finishMerge();
        }
        if (packing == null && victim == null && !start(true)) {
            return false;
        }
        if (packing != null) {
            awaitPacking();
        }
        if (victim != null) {
            letGo(Log.LAST_CHUNK);
            return true;
        }
        return failure == null;
    }

    /** Why nothing can leave memory; null when it can. */
    RuntimeException failure() {
        return failure;
    }

    /** `now`: cleaning is done at once; otherwise appends pay for it. True when something was begun or given back. */
    private boolean start(boolean now) {
        Segment oldest = log.oldest();
        if (oldest == null || !now && log.isGrowing(oldest)) {
            return false;
        }
        if (oldest == log.open()) {
            engine.seal(oldest);
        }
        offset = 0;
        Cleaner cleaner = engine.cleaner();
        // Cleaning moves records to the open segment, and while a file is restored that is to hold just what the file holds.
        if (oldest.liveBytes < oldest.usedBytes * WORTH_PACKING && !engine.restoring) {
            cleaner.begin(oldest);
        }
        if (cleaner.isCleaning(oldest)) {
            if (!now) {
                return false;
            }
            if (cleanNow(cleaner)) {
                return true;
            }
            offset = cleaner.abandon();
        }
        engine.seal(oldest);
        oldest.leaving = true;
        victim = oldest;
        packPin = pins.pinSnapshot();
        packing = store.pack(log.view(oldest));
        return true;
    }

    /** False when there is no room to move what is alive. */
    private static boolean cleanNow(Cleaner cleaner) {
        try {
            return cleaner.cleanNow();
        } catch (SlimBaseException e) {
            if (e.kind() != SlimBaseException.Kind.Throttled) {
                throw e;
            }
            return false;
        }
    }

    private void awaitPacking() {
        long from = System.nanoTime();
        try {
            packing.get(PACK_WAIT_MS, TimeUnit.MILLISECONDS);
        } catch (ExecutionException | CancellationException e) {
            // beginLetGo meets it again
        } catch (TimeoutException e) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unavailable,
                    "disk does not keep up, segment_bytes=" + victim.usedBytes + ", waited_ms=" + PACK_WAIT_MS,
                    "use a faster disk for `io.tmp.dirs`, or raise `taskmanager.memory.managed.size`",
                    e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unavailable, "interrupted while a segment was packed, segment=" + victim.number(), null, e);
        } finally {
            waitedNs += System.nanoTime() - from;
        }
        beginLetGo();
    }

    private void beginLetGo() {
        Future<ColdFile> done = packing;
        packing = null;
        pins.changed(packPin);
        try {
            ColdFile file = done.get();
            failure = null;
            packedSegments++;
            packedBytes += file.bytes();
            tier.addNewest(file);
            pace.packed(file.bytes(), System.nanoTime());
            store.mergeRate(pace.wanted(tier.runCount()));
            victim.movedTo(file);
            engine.tierChanged();
        } catch (ExecutionException | CancellationException | InterruptedException e) {
            victim.leaving = false;
            victim = null;
            failedAt = System.nanoTime();
            failure = e.getCause() instanceof RuntimeException ? (RuntimeException) e.getCause() : new IllegalStateException(e);
        }
    }

    private void letGo(long bytes) {
        long left = bytes;
        while (left > 0) {
            if (victim.chunkCount() == 0) {
                Segment gone = victim;
                victim = null;
                log.leave(gone);
                considerMerge();
                return;
            }
            int chunk = victim.chunk(0);
            if (offset >= chunks.used[chunk]) {
                victim.removeFirstChunk();
                victim.usedBytes -= chunks.used[chunk];
                log.usedBytes -= chunks.used[chunk];
                chunks.free(chunk);
                engine.moved();
                offset = 0;
                continue;
            }
            long record = chunks.address(chunk) + offset;
            long size = Record.size(record);
            sample(record);
            engine.letGo(record, Chunks.logical(chunk, offset), victim);
            offset += size;
            left -= size;
        }
    }

    /** Of the keys that leave some are looked for in older files, whose versions of them are dead now. */
    private void sample(long record) {
        if (Record.has(record, Record.DEAD | Record.CHAINED)) {
            return;
        }
        int identity = Record.identity(record);
        long hash = KeyHash.hash(identity, Record.keyAddress(record), Record.keyLength(record));
        if ((hash & DEAD_SAMPLE - 1) == 0) {
            tier.supersede(Record.keyGroup(record), identity, hash, DEAD_SAMPLE);
        }
    }

    /** Called at barriers: takes over what was merged, and gives up files in which all has expired. */
    void collect() {
        if (merging != null && merging.isDone()) {
            finishMerge();
        }
        dropExpired();
    }

    /** What the merge that is under way reads; any thread may look. */
    long mergeInputBytes() {
        return mergeInputBytes;
    }

    boolean isMerging() {
        return merging != null;
    }

    /** Files that are being merged stay, and the one whose segment is leaving, since lookups then count from the newest run. */
    private void dropExpired() {
        if (engine.walks > 0 || tier.isEmpty()) {
            return;
        }
        List<ColdRun> busy = new ArrayList<>(mergingRuns);
        busy.addAll(witnesses);
        if (leaving() != null) {
            busy.add(tier.run(tier.runCount() - 1));
        }
        if (tier.dropExpired(store::hasExpired, busy)) {
            engine.tierChanged();
        }
    }

    private void considerMerge() {
        dropExpired();
        // While a segment is leaving, what continues its records must be able to tell its file from the others.
        if (merging != null || victim != null) {
            return;
        }
        MergePolicy.Choice choice = MergePolicy.choose(tier.figures(), engine.roomForIndexes());
        if (choice == null) {
            return;
        }
        mergingRuns = new ArrayList<>();
        for (int i = choice.from; i < choice.to; i++) {
            mergingRuns.add(tier.run(i));
        }
        witnesses = new ArrayList<>();
        List<ColdFile> others = new ArrayList<>();
        for (int each : choice.witnesses) {
            witnesses.add(tier.run(each));
            others.addAll(tier.run(each).files);
        }
        mergePin = pins.pinSnapshot();
        mergeFrom = System.nanoTime();
        mergeInputBytes = mergingRuns.stream().mapToLong(ColdRun::bytes).sum() + others.stream().mapToLong(ColdFile::bytes).sum();
        store.mergeRate(pace.wanted(tier.runCount()));
        merging = store.merge(tier.files(choice.from, choice.to), others, choice.from == 0, log::takeNumber);
    }

    private void finishMerge() {
        Future<List<ColdFile>> done = merging;
        merging = null;
        long read = mergeInputBytes;
        mergeInputBytes = 0;
        pins.changed(mergePin);
        try {
            List<ColdFile> merged = done.get();
            merges++;
            long written = 0;
            for (ColdFile file : merged) {
                written += file.bytes();
            }
            mergedBytes += written;
            pace.merged(read + written, System.nanoTime() - mergeFrom);
            tier.replace(mergingRuns, witnesses, merged);
            engine.tierChanged();
            mergingRuns = List.of();
            witnesses = List.of();
            considerMerge();
        } catch (ExecutionException | CancellationException | InterruptedException e) {
            // The files that were to be merged are as good as before; the next segment that leaves tries again. A lookup says what is wrong with one.
            mergingRuns = List.of();
            witnesses = List.of();
            mergeFailures++;
        }
    }

    /** Ends what is under way. Memory that somebody still reads in spite of that is not given back. */
    void close() {
        if (!store.end()) {
            return;
        }
        end(packing, packPin);
        end(merging, mergePin);
        packing = null;
        merging = null;
    }

    private void end(Future<?> job, long pin) {
        if (job == null) {
            return;
        }
        if (job.isDone() && !job.isCancelled()) {
            closeMade(job);
        }
        pins.changed(pin);
    }

    /** Files that nobody has taken over. */
    private static void closeMade(Future<?> job) {
        try {
            Object made = job.get();
            List<?> files = made instanceof List ? (List<?>) made : List.of(made);
            files.forEach(file -> ((ColdFile) file).close(true));
        } catch (ExecutionException | InterruptedException e) {
            // Nothing was made.
        }
    }
}
