package io.headrace.statebench.tiers;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * What the disk of a folder has done up to a moment, for whomever of the machine, and what was taken from the machine's processors by others of its host: proc(5)'s
 * `diskstats` and `stat`. Where the folder's device is not among them, everything is 0.
 */
final class Disk {
    private static final int READS = 3;
    private static final int READ_MS = 6;
    private static final int WRITES = 7;
    private static final int WRITE_MS = 10;
    private static final int STOLEN = 8;

    private final long[] counted = new long[4];
    private long stolen;
    private long jiffies;

    private Disk() {}

    /** Up to now. */
    static Disk now(Path folder) throws IOException {
        Disk disk = new Disk();
        long device = ((Number) Files.getAttribute(folder, "unix:dev")).longValue();
        String major = Long.toString(device >> 8 & 0xFFF);
        String minor = Long.toString(device & 0xFF | device >> 12 & 0xFFF00);
        for (String line : Files.readAllLines(Path.of("/proc/diskstats"))) {
            String[] fields = line.trim().split("\\s+");
            if (fields[0].equals(major) && fields[1].equals(minor)) {
                int[] wanted = {READS, READ_MS, WRITES, WRITE_MS};
                for (int i = 0; i < wanted.length; i++) {
                    disk.counted[i] = Long.parseLong(fields[wanted[i]]);
                }
            }
        }
        String[] processors = Files.readAllLines(Path.of("/proc/stat")).get(0).split("\\s+");
        disk.stolen = Long.parseLong(processors[STOLEN]);
        for (int i = 1; i <= STOLEN; i++) {
            disk.jiffies += Long.parseLong(processors[i]);
        }
        return disk;
    }

    /** Reads since then and milliseconds that each took, the same of writes, and the share of the processors' time that others had. */
    void since(Disk before, Map<String, Object> figures) {
        figures.put("disk_reads", counted[0] - before.counted[0]);
        figures.put("disk_read_ms", mean(before, 0));
        figures.put("disk_writes", counted[2] - before.counted[2]);
        figures.put("disk_write_ms", mean(before, 2));
        figures.put("stolen_share", (stolen - before.stolen) / (double) Math.max(1, jiffies - before.jiffies));
    }

    private double mean(Disk before, int at) {
        return (counted[at + 1] - before.counted[at + 1]) / (double) Math.max(1, counted[at] - before.counted[at]);
    }
}
