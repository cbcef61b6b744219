package io.headrace.slimbase.engine;

import java.util.function.LongSupplier;

/** What of an engine's state is where, and what moving it has cost, since the engine was made. Any thread may ask; figures may be some operations old. */
public final class TierStatistics {
    private final Log log;
    private final Chunks chunks;
    private final Nodes nodes;
    private final ColdTier tier;
    private final Spiller spiller;
    private final ReadCache cache;
    private final LongSupplier lookups;
    private final LongSupplier records;

    TierStatistics(Log log, Chunks chunks, Nodes nodes, ColdTier tier, Spiller spiller, ReadCache cache, LongSupplier lookups, LongSupplier records) {
        this.log = log;
        this.chunks = chunks;
        this.nodes = nodes;
        this.tier = tier;
        this.spiller = spiller;
        this.cache = cache;
        this.lookups = lookups;
        this.records = records;
    }

    /** Records of all tiers, of which those whose key may be in a file already are counted by sampling. */
    public long records() {
        return records.getAsLong();
    }

    /** Memory of records, those of the cache included; bytes. */
    public long recordBytes() {
        return chunks.allocatedBytes();
    }

    /** Of these, records that are alive; bytes. */
    public long liveBytes() {
        return log.liveBytes;
    }

    /** Memory of the hash index; bytes. */
    public long indexBytes() {
        return nodes.allocatedBytes();
    }

    /** Memory of files' filters and block indexes; bytes. */
    public long fileIndexBytes() {
        return tier.memoryBytes();
    }

    /** Copies of records that were read from files; bytes. */
    public long cacheBytes() {
        return cache == null ? 0 : cache.bytes();
    }

    /** Length of all files; bytes. */
    public long fileBytes() {
        return tier.bytes();
    }

    /** Of these, what newer files have replaced or deleted: an estimate from a sample, 0 at first after a restore; bytes. */
    public long deadFileBytes() {
        return tier.deadBytes();
    }

    public long fileCount() {
        return tier.fileCount();
    }

    /** Runs that a lookup may have to ask. */
    public long runCount() {
        return tier.runCount();
    }

    /** Lookups of a key by readers; what only writes is not counted. */
    public long lookups() {
        return lookups.getAsLong();
    }

    /** Lookups that memory could not answer. */
    public long fileLookups() {
        return tier.lookups;
    }

    /** Reads of a block from a file. */
    public long fileReads() {
        return tier.fileReads;
    }

    /** Of these, reads that a filter asked for in vain. */
    public long falseFileReads() {
        return tier.falseReads;
    }

    /** Records that came back to memory because they were read again. */
    public long promotions() {
        return cache == null ? 0 : cache.promotions;
    }

    /** Written by packing segments; bytes. */
    public long packedBytes() {
        return spiller == null ? 0 : spiller.packedBytes;
    }

    /** Written by merging files; bytes. */
    public long mergedBytes() {
        return spiller == null ? 0 : spiller.mergedBytes;
    }

    /** Files given up whole, because all that they had was expired or deleted. */
    public long expiredFiles() {
        return tier.expiredFiles;
    }

    /** Bytes of these files: neither read nor written again. */
    public long expiredFileBytes() {
        return tier.expiredBytes;
    }

    /** What the merge that is under way reads, other runs than its own not counted; 0 when nothing is due; bytes. */
    public long mergeDebtBytes() {
        return spiller == null ? 0 : spiller.mergeInputBytes();
    }

    /** Merges that ended with an error; their files stayed as they were. */
    public long mergeFailures() {
        return spiller == null ? 0 : spiller.mergeFailures;
    }

    /** Appended to the log; bytes. What was written to files divided by it is the write amplification. */
    public long appendedBytes() {
        return log.appendedBytes;
    }

    /** Time that writes have waited for segments to be packed; ms. */
    public long stallMs() {
        return spiller == null ? 0 : spiller.waitedNs / 1_000_000;
    }
}
