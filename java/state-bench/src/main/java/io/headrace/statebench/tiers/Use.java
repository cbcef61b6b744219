package io.headrace.statebench.tiers;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What this process has used up to a moment: wall time, CPU time, bytes read from and written to the disk.
 *
 * <p>Bytes are those of proc(5)'s `io`, counted by the kernel where pages leave for the disk or come from it, whoever of the process asked: a hit of the page
 * cache is no read, and what is deleted before it was written back is taken off again.
 */
final class Use {

    private static final OperatingSystemMXBean PROCESS = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    final long wallNs;
    final long threadCpuNs;
    final long processCpuNs;
    final long readBytes;
    final long writtenBytes;

    private Use(long wallNs, long threadCpuNs, long processCpuNs, long readBytes, long writtenBytes) {
        this.wallNs = wallNs;
        this.threadCpuNs = threadCpuNs;
        this.processCpuNs = processCpuNs;
        this.readBytes = readBytes;
        this.writtenBytes = writtenBytes;
    }

    /** Up to now; CPU time of the calling thread. */
    static Use now() throws IOException {
        Map<String, Long> io = new LinkedHashMap<>();
        for (String line : Files.readAllLines(Path.of("/proc/self/io"))) {
            String[] pair = line.split(": ");
            io.put(pair[0], Long.parseLong(pair[1]));
        }
        return new Use(
                System.nanoTime(),
                ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime(),
                PROCESS.getProcessCpuTime(),
                io.get("read_bytes"),
                io.get("write_bytes") - io.get("cancelled_write_bytes"));
    }

    /** What was used since, per operation where that says something. */
    Map<String, Object> since(Use before, long operations) {
        double each = Math.max(1, operations);
        Map<String, Object> figures = new LinkedHashMap<>();
        figures.put("operations", operations);
        figures.put("wall_ns", (wallNs - before.wallNs) / each);
        figures.put("cpu_ns", (threadCpuNs - before.threadCpuNs) / each);
        figures.put("process_cpu_ns", (processCpuNs - before.processCpuNs) / each);
        figures.put("wall_s", (wallNs - before.wallNs) / 1e9);
        figures.put("read_bytes", readBytes - before.readBytes);
        figures.put("written_bytes", writtenBytes - before.writtenBytes);
        return figures;
    }
}
