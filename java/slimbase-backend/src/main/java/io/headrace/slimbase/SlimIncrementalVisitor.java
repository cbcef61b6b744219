package io.headrace.slimbase;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.runtime.state.StateEntry;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.internal.InternalKvState.StateIncrementalVisitor;
import org.apache.flink.util.FlinkRuntimeException;

/**
 * Walks a state's entries a few at a time, for Flink's incremental clean-up of expired values. It holds the key bytes of one key group and reads
 * values when they are asked for, so it sees what is there then; entries that were removed meanwhile are skipped. Does not touch the current
 * key.
 */
final class SlimIncrementalVisitor<K, N, V> implements StateIncrementalVisitor<K, N, V> {
    private final SlimKeyedStateBackend<K> backend;
    private final AbstractSlimState<K, N, V> state;
    private final List<byte[]> keys = new ArrayList<>();
    private final int lastKeyGroup;
    private int keyGroup;
    private int position;

    private boolean inTurn;

    SlimIncrementalVisitor(SlimKeyedStateBackend<K> backend, AbstractSlimState<K, N, V> state) {
        this.backend = backend;
        this.state = state;
        this.keyGroup = backend.getKeyGroupRange().getStartKeyGroup() - 1;
        this.lastKeyGroup = backend.getKeyGroupRange().getEndKeyGroup();
    }

    /** Lets the next entry be visited. */
    SlimIncrementalVisitor<K, N, V> turn() {
        inTurn = true;
        return this;
    }

    @Override
    public boolean hasNext() {
        return inTurn && isMore();
    }

    /** Whether the walk has not ended yet. */
    boolean isMore() {
        while (position >= keys.size() && keyGroup < lastKeyGroup) {
            keyGroup++;
            loadKeyGroup();
        }
        return position < keys.size();
    }

    private void loadKeyGroup() {
        keys.clear();
        position = 0;
        if (state.engine.recordCount(state.identity) == 0 && !state.engine.hasFiles()) {
            keyGroup = lastKeyGroup;
            return;
        }
        try {
            state.engine.forEachRecord(keyGroup, record -> {
                if (Record.identity(record) == state.identity) {
                    byte[] key = new byte[Record.keyLength(record)];
                    Memory.copyToArray(Record.keyAddress(record), key, 0, key.length);
                    keys.add(key);
                }
            });
        } catch (Exception e) {
            throw new FlinkRuntimeException("state cannot be walked, state=`" + state.info.name() + "`", e);
        }
    }

    @Override
    public Collection<StateEntry<K, N, V>> nextEntries() {
        List<StateEntry<K, N, V>> entries = new ArrayList<>();
        try (RecordKey key = new RecordKey()) {
            while (entries.isEmpty() && hasNext()) {
                byte[] bytes = keys.get(position++);
                key.set(bytes, 0, bytes.length);
                V value = state.valueOf(keyGroup, key);
                if (value != null) {
                    entries.add(entry(bytes, value));
                }
            }
        } catch (IOException e) {
            throw new FlinkRuntimeException("state cannot be read, state=`" + state.info.name() + "`", e);
        }
        inTurn = false;
        return entries;
    }

    @SuppressWarnings("unchecked")
    private StateEntry<K, N, V> entry(byte[] bytes, V value) throws IOException {
        DataInputDeserializer input = new DataInputDeserializer(bytes);
        K key = backend.getKeySerializer().deserialize(input);
        N namespace =
                (Object) state.namespaceSerializer instanceof VoidNamespaceSerializer
                        ? (N) VoidNamespace.INSTANCE
                        : state.namespaceSerializer.deserialize(input);
        return new StateEntry.SimpleStateEntry<>(key, namespace, value);
    }

    @Override
    public void remove(StateEntry<K, N, V> entry) {
        try (RecordKey key = new RecordKey()) {
            set(key, entry);
            state.removeValueOf(backend.keyGroupOf(entry.getKey()), key);
        } catch (IOException e) {
            throw new FlinkRuntimeException("state cannot be removed, state=`" + state.info.name() + "`", e);
        }
    }

    @Override
    public void update(StateEntry<K, N, V> entry, V newValue) {
        try (RecordKey key = new RecordKey()) {
            set(key, entry);
            state.setValueOf(backend.keyGroupOf(entry.getKey()), key, newValue);
        } catch (IOException e) {
            throw new FlinkRuntimeException("state cannot be written, state=`" + state.info.name() + "`", e);
        }
    }

    private void set(RecordKey key, StateEntry<K, N, V> entry) throws IOException {
        key.set(entry.getKey(), backend.getKeySerializer(), entry.getNamespace(), state.namespaceSerializer);
    }
}
