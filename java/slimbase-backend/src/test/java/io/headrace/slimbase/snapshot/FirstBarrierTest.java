package io.headrace.slimbase.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.headrace.slimbase.process.Fork;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class FirstBarrierTest {
    /** The task does not wait for classes of the backend to be loaded, nor lambdas linked, at its first barrier: building the backend has seen to it. */
    @Test
    void loadsNothingOfOurs() throws Exception {
        List<String> lines = Fork.lines(FirstBarrier.class, List.of("-Xlog:class+load"), List.of());
        List<String> during = lines.subList(lines.indexOf(FirstBarrier.BEGIN) + 1, lines.indexOf(FirstBarrier.END));
        List<String> ours =
                during.stream()
                        .filter(line -> line.contains(" io.headrace.") || line.contains("Snapshot") && line.contains("org.apache.flink.runtime.state.Snap"))
                        .collect(Collectors.toList());
        assertEquals(List.of(), ours);
        assertTrue(lines.stream().anyMatch(line -> line.contains(" io.headrace.slimbase.snapshot.TimerQueues ")), "the log has no classes");
    }
}
