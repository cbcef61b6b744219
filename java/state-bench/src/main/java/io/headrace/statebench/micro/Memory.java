package io.headrace.statebench.micro;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Resident memory of this process (Linux). */
final class Memory {

    private static final int COLLECTIONS = 3;
    private static final long KIB = 1_024;

    private Memory() {}

    /** Bytes resident now. */
    static long residentBytes() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmRSS:")) {
                return Long.parseLong(line.replaceAll("\\D", "")) * KIB;
            }
        }
        throw new IOException("no VmRSS in /proc/self/status");
    }

    /** Live bytes on the heap after collections. */
    static long heapBytes() {
        for (int i = 0; i < COLLECTIONS; i++) {
            System.gc();
        }
        Runtime runtime = Runtime.getRuntime();
        return runtime.totalMemory() - runtime.freeMemory();
    }
}
