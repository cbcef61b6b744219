package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.registry.BackendContext;
import java.io.IOException;
import java.util.Map;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.runtime.state.KeyExtractorFunction;
import org.apache.flink.runtime.state.RegisteredPriorityQueueStateBackendMetaInfo;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueElement;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueSet;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueSnapshotRestoreWrapper;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;

/** Makes timer queues again and fills them. */
final class QueueRestore {
    private final BackendContext<?> context;
    private final DataInputDeserializer in = new DataInputDeserializer();

    QueueRestore(BackendContext<?> context) {
        this.context = context;
    }

    /** Makes the queue unless another handle has done so; later registration checks the serializer against the restored one. */
    @SuppressWarnings({"unchecked", "rawtypes"})
    void register(StateMetaInfoSnapshot snapshot) {
        Map<String, HeapPriorityQueueSnapshotRestoreWrapper<?>> queues = context.registry().queues();
        if (queues.containsKey(snapshot.getName())) {
            return;
        }
        RegisteredPriorityQueueStateBackendMetaInfo metaInfo = new RegisteredPriorityQueueStateBackendMetaInfo<>(snapshot);
        context.queuesManager().createOrUpdate(snapshot.getName(), metaInfo.getElementSerializer());
        // The manager knows the serializer only as a new one; the restored description lets it be compared with the next one.
        HeapPriorityQueueSet queue = queues.get(snapshot.getName()).getPriorityQueue();
        queues.put(
                snapshot.getName(),
                new HeapPriorityQueueSnapshotRestoreWrapper(
                        queue,
                        metaInfo,
                        KeyExtractorFunction.forKeyedObjects(),
                        context.keyGroupRange(),
                        context.numberOfKeyGroups()));
    }

    /** Adds an element from its serialized form in memory. */
    void add(String name, long address, int length) throws IOException {
        byte[] bytes = new byte[length];
        Memory.copyToArray(address, bytes, 0, length);
        add(name, bytes, 0);
    }

    /** Adds an element whose serialized form begins at the offset. */
    @SuppressWarnings("unchecked")
    void add(String name, byte[] bytes, int offset) throws IOException {
        HeapPriorityQueueSnapshotRestoreWrapper<HeapPriorityQueueElement> wrapper =
                (HeapPriorityQueueSnapshotRestoreWrapper<HeapPriorityQueueElement>) context.registry().queues().get(name);
        TypeSerializer<HeapPriorityQueueElement> serializer = wrapper.getMetaInfo().getElementSerializer();
        in.setBuffer(bytes, offset, bytes.length - offset);
        wrapper.getPriorityQueue().add(serializer.deserialize(in));
    }
}
