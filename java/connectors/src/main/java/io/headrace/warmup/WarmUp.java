package io.headrace.warmup;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.instrument.Instrumentation;
import java.lang.management.ManagementFactory;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.jobgraph.JobGraph;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.runtime.minicluster.RpcServiceSharing;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Warms a Flink process, once, by a job inside of it; the process's own work goes before.
 *
 * <p>Two ways to have it: as the main class, in front of the real one (`java … io.headrace.warmup.WarmUp
 * org.apache.flink.runtime.taskexecutor.TaskManagerRunner …`, options in the system property `headrace.warm-up`), or, where Flink
 * builds the command, as an agent (`env.java.opts.taskmanager: -javaagent:headrace-connectors.jar=after=20`). It waits until the
 * process has settled and the machine has time to spare, leaves out what has run tasks already, and gives up at once when real tasks
 * come. Whatever goes wrong is a line in the log: a process that is not warm works as well, only later.
 */
public final class WarmUp {
    static final String PROPERTY = "headrace.warm-up";
    private static final Logger LOG = LoggerFactory.getLogger(WarmUp.class);
    private static final String TASK_THREADS = "Flink Task Threads"; // the thread group of all tasks of a process
    private static final Pattern TASK = Pattern.compile("\\(\\d+/\\d+\\)#\\d+$"); // how the name of a task's thread ends
    private static final long POLL_MS = 100;
    private static final long LIMIT_MS = 60_000; // of the job: far more than a loaded machine needs
    private static final double CALM = 0.75; // share of the machine's CPU
    private static final int CALM_SAMPLES = 2;
    private static final long SAMPLE_MS = 500;
    private static final long CALM_LIMIT_MS = 120_000; // a machine that is always busy gets warm spares, too

    private final WarmUpOptions options;

    private WarmUp(WarmUpOptions options) {
        this.options = options;
    }

    /** As an agent: {@code text} holds the options. */
    public static void premain(String text, Instrumentation instrumentation) {
        start(text);
    }

    /** In front of another main class, the first word. */
    public static void main(String[] words) throws Throwable {
        if (words.length == 0) {
            throw new IllegalArgumentException("warm-up: the first word is the main class of the process to warm");
        }
        Method main = Class.forName(words[0]).getMethod("main", String[].class);
        start(System.getProperty(PROPERTY));
        try {
            main.invoke(null, (Object) Arrays.copyOfRange(words, 1, words.length));
        } catch (InvocationTargetException error) {
            throw error.getCause();
        }
    }

    private static void start(String text) {
        WarmUp warmUp = new WarmUp(WarmUpOptions.parse(text));
        Thread thread = new Thread(warmUp::run, WarmUpJob.NAME);
        thread.setDaemon(true);
        thread.start();
    }

    private void run() {
        try {
            Thread.sleep(options.after.toMillis());
            if (waitCalm()) {
                warm(options, WarmUp::hasTasks);
            }
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        } catch (Exception | LinkageError error) {
            LOG.warn("Not warm, the first task will take longer: {}", error.toString(), error);
        } finally {
            mark();
        }
    }

    /**
     * Run the job and wait until it has gone all ways.
     *
     * @return whether it did; false when it was given up since real tasks came
     * @throws IllegalStateException it failed or took too long
     */
    static boolean warm(WarmUpOptions options, BooleanSupplier givenUp) throws Exception {
        long begun = System.nanoTime();
        Path folder = Files.createTempDirectory(Files.createDirectories(Path.of(options.folder)), "warm-up-").toAbsolutePath();
        LOG.info("Warm-up begins; until it says that it has ended, only warnings are logged");
        try {
            boolean whole = runJob(options, folder, givenUp);
            long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begun);
            LOG.info("Warm-up has ended: {} after {} ms", whole ? "warm" : "given up, tasks have come", tookMs);
            return whole;
        } finally {
            delete(folder);
        }
    }

    private static boolean runJob(WarmUpOptions options, Path folder, BooleanSupplier givenUp) throws Exception {
        Configuration configuration = WarmUpJob.configuration(options, folder.toString());
        Progress progress = Progress.begin();
        MiniClusterConfiguration cluster =
                new MiniClusterConfiguration.Builder()
                        .setConfiguration(configuration)
                        .setNumTaskManagers(WarmUpJob.PARALLELISM) // of one slot each, so that rows cross a connection
                        .setNumSlotsPerTaskManager(1)
                        .setRpcServiceSharing(RpcServiceSharing.SHARED)
                        .setCommonBindAddress("127.0.0.1")
                        .build();
        JobGraph graph = WarmUpJob.graph(options, configuration, identity());
        try (AutoCloseable quiet = Quiet.begin(graph.getJobID().toHexString());
                MiniCluster running = new MiniCluster(cluster)) {
            if (!options.kafka.isEmpty()) {
                WarmUpJob.makeTopic(options.kafka);
            }
            running.start();
            JobID job = running.submitJob(graph).get(LIMIT_MS, TimeUnit.MILLISECONDS).getJobID();
            long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(LIMIT_MS);
            while (!progress.isDone()) {
                if (givenUp.getAsBoolean()) {
                    return false;
                }
                JobStatus status = running.getJobStatus(job).get(LIMIT_MS, TimeUnit.MILLISECONDS);
                if (status.isGloballyTerminalState() || System.nanoTime() > deadline) {
                    throw new IllegalStateException("the warm-up's job is " + status + ", and has not gone all ways");
                }
                Thread.sleep(POLL_MS);
            }
            return true; // closing the cluster ends its job
        }
    }

    /** Wait until the machine has time to spare; returns whether this process still has run nothing. */
    private static boolean waitCalm() throws InterruptedException {
        com.sun.management.OperatingSystemMXBean system =
                ManagementFactory.getPlatformMXBean(com.sun.management.OperatingSystemMXBean.class);
        long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(CALM_LIMIT_MS);
        int calm = 0;
        while (calm < CALM_SAMPLES && System.nanoTime() < deadline) {
            if (hasTasks()) {
                LOG.info("No warm-up: tasks have come before it");
                return false;
            }
            calm = system.getSystemCpuLoad() <= CALM ? calm + 1 : 0;
            Thread.sleep(SAMPLE_MS);
        }
        return true;
    }

    /** Whether this process runs a task that is none of the warm-up's. */
    static boolean hasTasks() {
        Set<Thread> threads = Thread.getAllStackTraces().keySet();
        return threads.stream().anyMatch(WarmUp::isRealTask);
    }

    private static boolean isRealTask(Thread thread) {
        ThreadGroup group = thread.getThreadGroup();
        String name = thread.getName();
        return group != null
                && TASK_THREADS.equals(group.getName())
                && TASK.matcher(name).find() // clients that a task has made stay in its group
                && !name.contains(WarmUpJob.NAME);
    }

    /** Say to whoever looks for the file that there will be no more warming. */
    private void mark() {
        try {
            if (!options.mark.isEmpty()) {
                Files.writeString(Path.of(options.mark), Long.toString(ProcessHandle.current().pid()));
            }
        } catch (IOException error) {
            LOG.warn("The end of the warm-up cannot be marked: {}", error.toString());
        }
    }

    /** Of this process among those that warm up at the same time. */
    private static String identity() {
        return ManagementFactory.getRuntimeMXBean().getName().replaceAll("[^A-Za-z0-9._-]", "-");
    }

    private static void delete(Path folder) {
        try (Stream<Path> files = Files.walk(folder)) {
            files.sorted(Comparator.reverseOrder()).forEach(WarmUp::deleteOne);
        } catch (IOException | UncheckedIOException error) {
            LOG.info("Files of the warm-up are left in {}: {}", folder, error.toString());
        }
    }

    private static void deleteOne(Path path) {
        try {
            Files.deleteIfExists(path);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
