package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.KeyHash;
import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.file.FileBuilder;
import io.headrace.slimbase.registry.StateRegistry;
import java.io.IOException;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueSnapshotRestoreWrapper;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueStateSnapshot;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;

/** The timer queues as they were at the barrier. Taken on the task thread, a copy of each queue's array; used by one other thread. */
final class TimerQueues {
    /** One queue. */
    static final class Queue {
        final String name;
        final int stateId;
        final int size;
        final HeapPriorityQueueStateSnapshot<?> snapshot;
        final StateMetaInfoSnapshot metaInfo;

        Queue(String name, int stateId, int size, HeapPriorityQueueStateSnapshot<?> snapshot) {
            this.name = name;
            this.stateId = stateId;
            this.size = size;
            this.snapshot = snapshot;
            this.metaInfo = snapshot.getMetaInfoSnapshot();
        }

        @SuppressWarnings("unchecked")
        private TypeSerializer<Object> serializer() {
            return (TypeSerializer<Object>) snapshot.getMetaInfo().getElementSerializer();
        }

        /** Serialized elements of a key group, in no order. */
        List<byte[]> elements(int keyGroup) throws IOException {
            DataOutputSerializer out = new DataOutputSerializer(64);
            TypeSerializer<Object> serializer = serializer();
            List<byte[]> elements = new ArrayList<>();
            Iterator<?> iterator = snapshot.getIteratorForKeyGroup(keyGroup);
            while (iterator.hasNext()) {
                out.clear();
                serializer.serialize(iterator.next(), out);
                elements.add(out.getCopyOfBuffer());
            }
            return elements;
        }
    }

    private final List<Queue> queues = new ArrayList<>();

    /** Copies the queues. */
    static TimerQueues take(StateRegistry registry) {
        TimerQueues taken = new TimerQueues();
        for (Map.Entry<String, HeapPriorityQueueSnapshotRestoreWrapper<?>> entry : registry.queues().entrySet()) {
            HeapPriorityQueueSnapshotRestoreWrapper<?> wrapper = entry.getValue();
            taken.queues.add(
                    new Queue(
                            entry.getKey(),
                            registry.queueStateId(entry.getKey()),
                            wrapper.getPriorityQueue().size(),
                            wrapper.stateSnapshot()));
        }
        return taken;
    }

    /** In the order of their registration. */
    List<Queue> queues() {
        return queues;
    }

    boolean isEmpty() {
        return queues.stream().allMatch(queue -> queue.size == 0);
    }

    /** Writes the file `timers`. */
    long write(KeyGroupRange range, OutputStream out) throws IOException {
        List<Queue> byId = new ArrayList<>(queues);
        byId.sort(Comparator.comparingInt(queue -> queue.stateId));
        FileBuilder builder = new FileBuilder(out, 0);
        try (Bytes scratch = new Bytes()) {
            for (int keyGroup : range) {
                for (Queue queue : byId) {
                    writeElements(builder, keyGroup, queue, scratch);
                }
            }
        }
        return builder.finish().bytes();
    }

    private static void writeElements(FileBuilder builder, int keyGroup, Queue queue, Bytes scratch) throws IOException {
        int identity = queue.stateId * 2;
        List<Element> elements = new ArrayList<>();
        for (byte[] bytes : queue.elements(keyGroup)) {
            elements.add(new Element(bytes, KeyHash.hash(identity, scratch.hold(bytes), bytes.length)));
        }
        elements.sort(Element.ORDER);
        for (Element element : elements) {
            long address = scratch.hold(element.bytes);
            builder.add(keyGroup, identity, 0, address, element.bytes.length, address, 0);
        }
    }

    private static final class Element {
        static final Comparator<Element> ORDER =
                (a, b) -> {
                    int byHash = Long.compareUnsigned(a.hash, b.hash);
                    return byHash != 0 ? byHash : java.util.Arrays.compareUnsigned(a.bytes, b.bytes);
                };
        final byte[] bytes;
        final long hash;

        Element(byte[] bytes, long hash) {
            this.bytes = bytes;
            this.hash = hash;
        }
    }

    /** Scratch memory for one element. */
    private static final class Bytes implements AutoCloseable {
        private int capacity = 256;
        private long address = Memory.allocate(capacity);

        long hold(byte[] bytes) {
            if (bytes.length > capacity) {
                capacity = Math.max(bytes.length, capacity * 2);
                address = Memory.reallocate(address, capacity);
            }
            Memory.copyFromArray(bytes, 0, bytes.length, address);
            return address;
        }

        @Override
        public void close() {
            Memory.free(address);
        }
    }
}
