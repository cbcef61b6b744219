package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.layout.MapPages;
import io.headrace.slimbase.registry.BackendContext;
import io.headrace.slimbase.registry.StateInfo;
import io.headrace.slimbase.registry.StateKind;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.ListSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.ListDelimitedSerializer;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;
import org.apache.flink.runtime.state.restore.FullSnapshotRestoreOperation;
import org.apache.flink.runtime.state.restore.KeyGroup;
import org.apache.flink.runtime.state.restore.KeyGroupEntry;
import org.apache.flink.runtime.state.restore.SavepointRestoreResult;
import org.apache.flink.runtime.state.restore.ThrowingIterator;

/** Reads savepoints in Flink's canonical format, whichever backend wrote them. Values keep their bytes; maps are put together from their entries. */
final class SavepointRestore<K> {
    private final BackendContext<K> context;
    private final QueueRestore queues;

    SavepointRestore(BackendContext<K> context) {
        this.context = context;
        this.queues = new QueueRestore(context);
    }

    void restore(Collection<KeyedStateHandle> handles) throws Exception {
        FullSnapshotRestoreOperation<K> operation =
                new FullSnapshotRestoreOperation<>(
                        context.keyGroupRange(), context.userClassLoader(), handles, context.keySerializerProvider());
        try (ThrowingIterator<SavepointRestoreResult> results = operation.restore();
                Buffers buffers = new Buffers();
                MapPages maps = new MapPages(context.engine())) {
            while (results.hasNext()) {
                SavepointRestoreResult result = results.next();
                List<Target> targets = register(result.getStateMetaInfoSnapshots(), buffers, maps);
                try (ThrowingIterator<KeyGroup> keyGroups = result.getRestoredKeyGroups()) {
                    while (keyGroups.hasNext()) {
                        restoreKeyGroup(keyGroups.next(), targets);
                    }
                }
            }
        } catch (EOFException e) {
            throw MetaReader.corrupt("savepoint is cut off", "savepoint", e);
        } catch (FileNotFoundException | NoSuchFileException e) {
            throw MetaReader.corrupt("savepoint is missing", "savepoint", e);
        }
    }

    private static void restoreKeyGroup(KeyGroup keyGroup, List<Target> targets) throws Exception {
        try (ThrowingIterator<KeyGroupEntry> entries = keyGroup.getKeyGroupEntries()) {
            while (entries.hasNext()) {
                KeyGroupEntry entry = entries.next();
                if (entry.getKvStateId() >= targets.size()) {
                    throw MetaReader.corrupt("savepoint has a state without description, state_id=" + entry.getKvStateId(), "savepoint", null);
                }
                targets.get(entry.getKvStateId()).put(keyGroup.getKeyGroupId(), entry.getKey(), entry.getValue());
            }
        } catch (EOFException e) {
            throw MetaReader.corrupt("savepoint is cut off, key_group=" + keyGroup.getKeyGroupId(), "savepoint", e);
        }
    }

    private List<Target> register(List<StateMetaInfoSnapshot> snapshots, Buffers buffers, MapPages maps) {
        List<Target> targets = new ArrayList<>(snapshots.size());
        for (StateMetaInfoSnapshot snapshot : snapshots) {
            if (snapshot.getBackendStateType() == StateMetaInfoSnapshot.BackendStateType.PRIORITY_QUEUE) {
                queues.register(snapshot);
                context.registry().queueStateId(snapshot.getName());
                targets.add(queueTarget(snapshot.getName()));
            } else {
                RegisteredKeyValueStateBackendMetaInfo<?, ?> metaInfo = new RegisteredKeyValueStateBackendMetaInfo<>(snapshot);
                StateInfo info =
                        context.registry().restore(snapshot.getName(), -1, StateKind.of(metaInfo), metaInfo, 0);
                targets.add(stateTarget(info, buffers, maps));
            }
        }
        return targets;
    }

    private interface Target {
        void put(int keyGroup, byte[] key, byte[] value) throws IOException;
    }

    private Target queueTarget(String name) {
        int prefix =
                org.apache.flink.runtime.state.CompositeKeySerializationUtils.computeRequiredBytesInKeyGroupPrefix(
                        context.numberOfKeyGroups());
        return (keyGroup, key, value) -> queues.add(name, key, prefix);
    }

    private Target stateTarget(StateInfo info, Buffers buffers, MapPages maps) {
        CanonicalKeys keys =
                new CanonicalKeys(
                        context.keySerializerProvider().previousSchemaSerializer(),
                        info.metaInfo().getPreviousNamespaceSerializer(),
                        context.numberOfKeyGroups());
        switch (info.kind()) {
            case LIST:
                return listTarget(info, keys, buffers);
            case MAP:
                return (keyGroup, key, value) -> {
                    int userKeyStart = keys.split(key);
                    int keyLength = keys.out().length();
                    long ours = buffers.key(keys.out().getSharedBuffer(), 0, keyLength);
                    long userKey = buffers.userKey(key, userKeyStart, key.length - userKeyStart);
                    // A null is its flag alone; some backends write the serializer's null after it.
                    int valueLength = value.length > 0 && value[0] != 0 ? 1 : value.length;
                    long valueAddress = buffers.value(value, 0, valueLength);
                    maps.put(
                            keyGroup,
                            info.identity(),
                            ours,
                            keyLength,
                            userKey,
                            key.length - userKeyStart,
                            valueAddress,
                            valueLength);
                };
            default:
                return (keyGroup, key, value) -> {
                    keys.split(key);
                    int keyLength = keys.out().length();
                    long ours = buffers.key(keys.out().getSharedBuffer(), 0, keyLength);
                    context.engine().put(keyGroup, info.identity(), ours, keyLength, buffers.value(value, 0, value.length), value.length);
                };
        }
    }

    private Target listTarget(StateInfo info, CanonicalKeys keys, Buffers buffers) {
        TypeSerializer<?> elementSerializer =
                ((ListSerializer<?>) info.metaInfo().getPreviousStateSerializer()).getElementSerializer();
        DataInputDeserializer in = new DataInputDeserializer();
        return (keyGroup, key, value) -> {
            keys.split(key);
            int keyLength = keys.out().length();
            int count = 0;
            in.setBuffer(value);
            while (ListDelimitedSerializer.deserializeNextElement(in, elementSerializer) != null) {
                count++;
            }
            context.engine()
                    .putList(
                            keyGroup,
                            info.identity(),
                            buffers.key(keys.out().getSharedBuffer(), 0, keyLength),
                            keyLength,
                            buffers.value(value, 0, value.length),
                            value.length,
                            count);
        };
    }

    /** Memory outside the heap for one entry. */
    private static final class Buffers implements AutoCloseable {
        private final long[] addresses = new long[3];
        private final int[] capacities = new int[3];

        long key(byte[] bytes, int offset, int length) {
            return hold(0, bytes, offset, length);
        }

        long userKey(byte[] bytes, int offset, int length) {
            return hold(1, bytes, offset, length);
        }

        long value(byte[] bytes, int offset, int length) {
            return hold(2, bytes, offset, length);
        }

        private long hold(int which, byte[] bytes, int offset, int length) {
            if (addresses[which] == 0 || capacities[which] < length) {
                capacities[which] = Math.max(256, Math.max(length, (int) Math.min(Integer.MAX_VALUE, 2L * capacities[which])));
                // Keys are hashed by words: some bytes beyond the end are readable.
                addresses[which] =
                        addresses[which] == 0
                                ? Memory.allocate(capacities[which] + 8L)
                                : Memory.reallocate(addresses[which], capacities[which] + 8L);
            }
            Memory.copyFromArray(bytes, offset, length, addresses[which]);
            return addresses[which];
        }

        @Override
        public void close() {
            for (long address : addresses) {
                if (address != 0) {
                    Memory.free(address);
                }
            }
        }
    }
}
