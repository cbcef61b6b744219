package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.SlimBaseStateBackend;
import java.util.List;
import java.util.concurrent.RunnableFuture;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.memory.MemCheckpointStreamFactory;

/** A backend's first barriers in a fresh JVM, with marks on either side of the synchronous part for {@link FirstBarrierTest}. Prints its time too, for people. */
public final class FirstBarrier {
    static final String BEGIN = "barrier begins";
    static final String END = "barrier ends";

    private FirstBarrier() {}

    /** Three barriers. */
    public static void main(String[] arguments) throws Exception {
        KeyGroupRange range = KeyGroupRange.of(0, Subtask.MAX_PARALLELISM - 1);
        try (Subtask subtask = new Subtask(new SlimBaseStateBackend(), range, List.of(), null)) {
            for (int key = 0; key < 1_000; key++) {
                subtask.setValue(key, "value-" + key);
                subtask.setTimer(key, key, true);
            }
            WarmUp.start().await();
            CheckpointOptions options = Subtask.checkpoint();
            MemCheckpointStreamFactory streams = new MemCheckpointStreamFactory(50 << 20);
            for (int id = 1; id <= 3; id++) {
                System.out.println(BEGIN);
                long begin = System.nanoTime();
                RunnableFuture<SnapshotResult<KeyedStateHandle>> snapshot = subtask.begin(id, streams, options);
                long ns = System.nanoTime() - begin;
                System.out.println(END);
                System.out.println("sync_us=" + ns / 1_000);
                snapshot.run();
                snapshot.get();
            }
        }
        System.exit(0);
    }
}
