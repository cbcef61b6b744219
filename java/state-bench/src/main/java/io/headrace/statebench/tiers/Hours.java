package io.headrace.statebench.tiers;

import io.headrace.statebench.Arguments;
import io.headrace.statebench.BackendUnderTest;
import io.headrace.statebench.FolderBytes;
import io.headrace.statebench.checkpoint.SnapshotTimer;
import io.headrace.statebench.micro.KeyStream;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.locks.LockSupport;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;

/**
 * A large state for a long time: what may grow is looked at in windows, of which each prints one JSON object.
 *
 * <p>`--records N --minutes N --window-ms N --checkpoint-ms N --ttl-ms N` and what {@link Tiers} takes. Loads all records, then mixes, with checkpoints at their interval:
 * read-modify-write and reads by Zipf, blind puts and removals of uniform keys, and rows that come with time, are read once and expire. A window says what was
 * written and read on the disk, how much the process holds, how many bytes of files there are here and in checkpoints beside the bytes that live, and how long
 * operations took.
 *
 * <p>Values say whose they are. Of every {@link #EXACT}-th key the version is known, too, and whether it was removed: a value that came back, is stale or lost ends the run.
 */
public final class Hours implements AutoCloseable {

    private static final long SEED = 42;
    private static final int EXACT = 64;
    private static final int CHUNK = 64;
    /** Of a hundred operations: read-modify-writes, reads, puts, removals; the rest are rows that expire. Mostly writes, so that hours change the state several times over. */
    private static final int[] MIX = {15, 25, 80, 85};
    /** Exact keys that are looked up at the end, at most. */
    private static final int CHECKED_MAX = 200_000;
    /** Rows are read so many rows after they came. */
    private static final long ROW_AGE = 1_000;

    private final Arguments arguments;
    private final long n;
    private final int valueBytes;
    private final long ttlMs;
    private final Report report;
    private final File folder;
    private final Path checkpointFolder;
    private final BackendUnderTest<Long> backend;
    private final ValueState<byte[]> values;
    private final ValueState<byte[]> rows;
    private final SnapshotTimer timer;
    private final ExecutorService background = Executors.newSingleThreadExecutor(Hours::daemon);
    private final ExecutorService deleter = Executors.newSingleThreadExecutor(Hours::daemon);
    /** Version of each exact key's value; 0 when it was removed. */
    private final int[] versions;

    private final KeyStream zipf;
    private final KeyStream uniform;
    private final KeyStream dice = KeyStream.uniform(100, SEED + 1);
    private long removedExact;
    private long rowCount;
    private long changedBytes;
    private int version;

    private SnapshotTimer.Begun running;
    private long nextCheckpoint;
    private final List<Map<String, Object>> checkpoints = new ArrayList<>();
    private final Stalls stalls;

    private Hours(Arguments arguments) throws Exception {
        this.arguments = arguments;
        n = arguments.number("records", 1_000_000);
        valueBytes = (int) arguments.number("value-bytes", 100);
        ttlMs = arguments.number("ttl-ms", 60_000);
        report = new Report(arguments);
        folder = new File(arguments.required("folder"));
        checkpointFolder = folder.toPath().resolve("checkpoints");
        backend = BackendUnderTest.open(arguments, LongSerializer.INSTANCE);
        values = backend.state(new ValueStateDescriptor<>("value", BytePrimitiveArraySerializer.INSTANCE));
        ValueStateDescriptor<byte[]> expiring = new ValueStateDescriptor<>("row", BytePrimitiveArraySerializer.INSTANCE);
        expiring.enableTimeToLive(StateTtlConfig.newBuilder(Duration.ofMillis(ttlMs)).build());
        rows = backend.state(expiring);
        stalls = new Stalls();
        timer = new SnapshotTimer(backend.keyed(), checkpointFolder.toFile(), work -> deleter.execute(() -> deleteSteadily(work)));
        versions = new int[Math.toIntExact((n + EXACT - 1) / EXACT)];
        removedExact = versions.length;
        zipf = KeyStream.zipf(n, SEED);
        uniform = KeyStream.uniform(n, SEED);
    }

    /**
     * What a JobManager deletes is on another machine's disk. Here it is on the one that the task reads from, which some file systems tell of each block that is free: so the
     * disk is left to others after each file, for as long as that took.
     */
    private void deleteSteadily(Runnable work) {
        long from = System.nanoTime();
        work.run();
        try (FileChannel names = FileChannel.open(timer.sharedFolder(), StandardOpenOption.READ)) {
            names.force(true);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        LockSupport.parkNanos(System.nanoTime() - from);
    }

    private static Thread daemon(Runnable work) {
        Thread thread = new Thread(work, "beside-the-task");
        thread.setDaemon(true);
        return thread;
    }

    /** Looks now and then what an operation is doing that takes long. */
    private final class Stalls extends Thread {
        private static final long LONG_NS = 500_000_000;
        private static final long LOOK_MS = 100;
        private static final int FRAMES = 12;

        private final Thread watched = Thread.currentThread();
        private volatile long since = System.nanoTime();
        private volatile String seen = "";
        private volatile long mostRuns;

        Stalls() {
            super("stalls");
            setDaemon(true);
            start();
        }

        void began(long now) {
            since = now;
        }

        @Override
        public void run() {
            while (true) {
                try {
                    Thread.sleep(LOOK_MS);
                } catch (InterruptedException e) {
                    return;
                }
                mostRuns = Math.max(mostRuns, backend.gauges().number("runCount"));
                if (System.nanoTime() - since > LONG_NS) {
                    StringBuilder stack = new StringBuilder();
                    StackTraceElement[] frames = watched.getStackTrace();
                    for (int i = 0; i < Math.min(FRAMES, frames.length); i++) {
                        stack.append(frames[i].getClassName().replaceAll(".*\\.", "")).append('.').append(frames[i].getMethodName()).append(' ');
                    }
                    seen = stack.toString().trim();
                }
            }
        }

        /** Where the task's thread was last in an operation of more than half a second, innermost first; nothing when there was none. */
        String take() {
            String last = seen;
            seen = "";
            return last;
        }

        /** The most runs of files that a lookup could have to ask. */
        long takeRuns() {
            long most = mostRuns;
            mostRuns = 0;
            return most;
        }
    }

    /** Runs for as long as told. */
    public static void main(String[] words) throws Exception {
        Arguments arguments = new Arguments(words);
        Report.exitAfter(arguments, () -> {
            try (Hours hours = new Hours(arguments)) {
                hours.run();
            }
        });
    }

    private void run() throws Exception {
        report.phase("load", this::load);
        long windowNs = arguments.number("window-ms", 60_000) * 1_000_000;
        long end = System.nanoTime() + arguments.number("minutes", 5) * 60_000_000_000L;
        nextCheckpoint = System.nanoTime();
        for (int window = 0; System.nanoTime() < end; window++) {
            report.phase("window_" + window, () -> window(windowNs));
        }
        report.phase("check", this::checkExact);
    }

    private Map<String, Object> load() throws Exception {
        Begun before = new Begun();
        Pauses pauses = new Pauses();
        long at = System.nanoTime();
        for (long i = 0; i < n; i++) {
            report.at(i);
            put(KeyStream.loadOrder(i, n));
            long now = System.nanoTime();
            pauses.add(now - at);
            at = now;
            stalls.began(at);
        }
        return figures(before, n, pauses);
    }

    private Map<String, Object> window(long ns) throws Exception {
        Begun before = new Begun();
        Pauses pauses = new Pauses();
        changedBytes = 0;
        long begin = System.nanoTime();
        long done = 0;
        for (long at = begin; at - begin < ns; ) {
            for (int i = 0; i < CHUNK; i++) {
                step();
                long now = System.nanoTime();
                pauses.add(now - at);
                at = now;
                stalls.began(at);
            }
            done += CHUNK;
            checkpoint(at);
            long now = System.nanoTime();
            pauses.add(now - at);
            at = now;
        }
        return figures(before, done, pauses);
    }

    private void step() throws Exception {
        long drawn = dice.next();
        if (drawn < MIX[0]) {
            long key = zipf.next();
            check(key);
            put(key);
        } else if (drawn < MIX[1]) {
            check(zipf.next());
        } else if (drawn < MIX[2]) {
            put(uniform.next());
        } else if (drawn < MIX[3]) {
            remove(uniform.next());
        } else {
            row();
        }
    }

    private void put(long key) throws Exception {
        version = version == Integer.MAX_VALUE ? 1 : version + 1;
        backend.keyed().setCurrentKey(key);
        values.update(Values.make(key, version, valueBytes));
        changedBytes += Long.BYTES + valueBytes;
        if (key % EXACT == 0) {
            int exact = (int) (key / EXACT);
            removedExact -= versions[exact] == 0 ? 1 : 0;
            versions[exact] = version;
        }
    }

    private void remove(long key) throws Exception {
        backend.keyed().setCurrentKey(key);
        values.clear();
        changedBytes += Long.BYTES;
        if (key % EXACT == 0) {
            int exact = (int) (key / EXACT);
            removedExact += versions[exact] == 0 ? 0 : 1;
            versions[exact] = 0;
        }
    }

    private void check(long key) throws Exception {
        backend.keyed().setCurrentKey(key);
        byte[] value = values.value();
        if (key % EXACT != 0) {
            if (value != null) {
                Values.checkOwner(key, value);
            }
            return;
        }
        int expected = versions[(int) (key / EXACT)];
        int found = value == null ? 0 : Values.version(value);
        if (found != expected) {
            throw new AssertionError("wrong state, key=" + key + ", version=" + found + ", expected_version=" + expected);
        }
        if (value != null) {
            Values.check(key, value, valueBytes);
        }
    }

    /** A row comes, and one that came a while ago is read. */
    private void row() throws Exception {
        backend.keyed().setCurrentKey(n + rowCount);
        rows.update(Values.make(n + rowCount, 1, valueBytes));
        changedBytes += Long.BYTES + valueBytes;
        rowCount++;
        long key = n + rowCount - ROW_AGE;
        if (key >= n) {
            backend.keyed().setCurrentKey(key);
            byte[] value = rows.value();
            if (value != null) {
                Values.check(key, value, valueBytes);
            }
        }
    }

    /** Begins a checkpoint when it is time and none is under way, and confirms one that is done. */
    private void checkpoint(long now) throws Exception {
        if (running != null && running.isRun()) {
            checkpoints.add(timer.confirm(running));
            running = null;
        }
        if (running == null && now >= nextCheckpoint) {
            nextCheckpoint = now + arguments.number("checkpoint-ms", 10_000) * 1_000_000;
            running = timer.begin();
            background.execute(running::run);
        }
    }

    /** Exact keys from all over the state, and rows that must have expired. */
    private Map<String, Object> checkExact() throws Exception {
        Begun before = new Begun();
        Pauses pauses = new Pauses();
        long step = EXACT * Math.max(1L, versions.length / CHECKED_MAX);
        for (long key = 0; key < n; key += step) {
            check(key);
        }
        long limit = System.nanoTime() + ttlMs * 1_000_000;
        while (System.nanoTime() < limit) {
            Thread.sleep(100);
        }
        for (long key = n; key < n + rowCount; key += Math.max(1, rowCount / 10_000)) {
            backend.keyed().setCurrentKey(key);
            if (rows.value() != null) {
                throw new AssertionError("row has not expired, row=" + (key - n));
            }
        }
        return figures(before, n / step, pauses);
    }

    /** Where a window's figures count from. */
    private final class Begun {
        final Use use = Use.now();
        final Disk disk = Disk.now(folder.toPath());
        final long waitedMs = backend.gauges().number("stallMs");

        Begun() throws IOException {}
    }

    private Map<String, Object> figures(Begun before, long operations, Pauses pauses) throws IOException {
        Map<String, Object> figures = Use.now().since(before.use, operations);
        Disk.now(folder.toPath()).since(before.disk, figures);
        figures.put("changed_bytes", changedBytes);
        figures.put("live_bytes", liveBytes());
        figures.put("row_count", rowCount);
        figures.put("local_bytes", FolderBytes.without(folder.toPath(), checkpointFolder));
        figures.put("checkpoint_bytes", FolderBytes.of(checkpointFolder));
        figures.put("resident_bytes", residentBytes());
        figures.put("checkpoints", checkpoints.size());
        figures.put("checkpoint_ms_longest", longest("async_ms"));
        figures.put("barrier_ms_longest", longest("sync_ms"));
        checkpoints.clear();
        pauses.into(figures);
        figures.put("stalled_in", stalls.take());
        figures.put("runs_most", stalls.takeRuns());
        figures.put("waited_ms", backend.gauges().number("stallMs") - before.waitedMs);
        stalls.began(System.nanoTime());
        return figures;
    }

    private double longest(String name) {
        return checkpoints.stream().mapToDouble(each -> (double) each.get(name)).max().orElse(0);
    }

    /** Of values, by what the exact keys say. Rows come on top: whoever reads the windows knows how many came within the time to live. */
    private long liveBytes() {
        return (versions.length - removedExact) * EXACT * (Long.BYTES + valueBytes);
    }

    private static long residentBytes() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmRSS:")) {
                return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
            }
        }
        return 0;
    }

    @Override
    public void close() throws Exception {
        while (running != null) {
            checkpoint(0);
            Thread.onSpinWait();
        }
        backend.close();
    }
}
