package io.headrace.warmup;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The warm-up: it goes all ways, leaves nothing, gives way to real tasks, and says what it cannot read. */
class WarmUpTest {
    @TempDir Path folder;

    @Test
    void goesThroughARestartAndLeavesNothing() throws Exception {
        assertTrue(WarmUp.warm(options(), () -> false));
        assertTrue(Progress.current().isDone(), "rows and a checkpoint before and after the restart");
        assertEmpty();
        assertFalse(WarmUp.hasTasks());
    }

    @Test
    void givesWayToTasks() throws Exception {
        AtomicInteger looks = new AtomicInteger();
        assertFalse(WarmUp.warm(options(), () -> looks.incrementAndGet() > 2));
        assertFalse(Progress.current().isDone());
        assertEmpty();
    }

    @Test
    void aBackendThatIsNotThereIsAnErrorAndLeavesNothing() {
        WarmUpOptions options = WarmUpOptions.parse("state=io.headrace.NoSuchFactory,folder=" + folder);
        assertThrows(Exception.class, () -> WarmUp.warm(options, () -> false));
        assertEmpty();
    }

    @Test
    void tellsTasksFromTheirClientsAndFromItsOwn() throws Exception {
        ThreadGroup tasks = new ThreadGroup("Flink Task Threads");
        assertFalse(runs(tasks, "kafka-producer-network-thread | producer-1"));
        assertFalse(runs(tasks, "Source: headrace-warm-up (1/2)#0"));
        assertFalse(runs(Thread.currentThread().getThreadGroup(), "orders[3] -> sink (1/2)#0"));
        assertTrue(runs(tasks, "orders[3] -> sink (1/2)#0"));
    }

    @Test
    void countsBothLives() {
        Progress progress = Progress.begin();
        assertFalse(progress.checkpoint(), "too few rows yet");
        rows(progress, Progress.ROWS);
        assertTrue(progress.checkpoint(), "fails now");
        assertFalse(progress.checkpoint());
        assertFalse(progress.isDone(), "the second life has no rows");
        rows(progress, Progress.ROWS);
        assertFalse(progress.isDone(), "nor a checkpoint");
        assertFalse(progress.checkpoint(), "fails once only");
        assertTrue(progress.isDone());
    }

    @Test
    void readsItsOptions() {
        WarmUpOptions options = WarmUpOptions.parse("after=3,kafka=a:1;b:2,state=rocksdb,folder=/x%2C%20y,mark=/y");
        assertEquals(Duration.ofSeconds(3), options.after);
        assertEquals("a:1,b:2", options.kafka);
        assertEquals("rocksdb", options.state);
        assertEquals("/x, y", options.folder);
        assertEquals("/y", options.mark);
        assertEquals("hashmap", WarmUpOptions.parse(null).state);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "after", "after=", "after=soon", "after=-1", "before=3", "=3", "kafka=a:1,b:2"})
    void whatCannotBeReadIsNamed(String text) {
        String words = assertThrows(IllegalArgumentException.class, () -> WarmUpOptions.parse(text)).getMessage();
        assertTrue(words.startsWith("warm-up: "), words);
    }

    private WarmUpOptions options() {
        return WarmUpOptions.parse("folder=" + folder);
    }

    private void assertEmpty() {
        try (Stream<Path> left = Files.list(folder)) {
            assertEquals(0, left.count());
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    private static void rows(Progress progress, int count) {
        for (int i = 0; i < count; i++) {
            progress.row();
        }
    }

    /** Whether a thread of this name in this group counts as a task. */
    private static boolean runs(ThreadGroup group, String name) throws InterruptedException {
        CountDownLatch end = new CountDownLatch(1);
        Thread thread = new Thread(group, () -> await(end), name);
        thread.start();
        try {
            return WarmUp.hasTasks();
        } finally {
            end.countDown();
            thread.join();
        }
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }
}
