package io.headrace.slimbase;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.registry.StateInfo;
import java.io.IOException;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;

/**
 * A state whose record holds the value serializer's bytes and nothing else: value, reducing, aggregating. This is the hot path: reading then
 * writing looks up once, longs are read and written without a serializer, and a record of the current epoch is changed where it lies.
 */
abstract class WholeValueState<K, N, V> extends AbstractSlimState<K, N, V> {
    private boolean longs;

    WholeValueState(SlimKeyedStateBackend<K> backend, StateInfo info) {
        super(backend, info);
    }

    @Override
    void update(RegisteredKeyValueStateBackendMetaInfo<N, V> meta, StateDescriptor<?, V> descriptor) {
        super.update(meta, descriptor);
        longs = (TypeSerializer<?>) valueSerializer instanceof LongSerializer;
    }

    @Override
    boolean needsVisits() {
        return false;
    }

    /** The current value, or null. */
    final V read() throws IOException {
        long found = locate();
        return found == 0 ? null : decode(found);
    }

    /** The value of a record that was looked up; 0: there is none. */
    V decodeOrDefault(long found) throws IOException {
        return found == 0 ? null : decode(found);
    }

    /** The current value as it is stored, or null. */
    public final V getInternal() throws IOException {
        return read();
    }

    /** Sets the current value; null clears it. */
    public final void updateInternal(V value) throws IOException {
        if (value == null) {
            clear();
        } else {
            write(value);
        }
    }

    @SuppressWarnings("unchecked")
    private V decode(long at) throws IOException {
        if (longs) {
            return (V) (Long) Long.reverseBytes(Memory.getLong(Record.valueAddress(at)));
        }
        return valueSerializer.deserialize(in.set(Record.valueAddress(at), Record.valueLength(at)));
    }

    /** Sets the current value, which is not null. */
    final void write(V value) throws IOException {
        if (longs) {
            writeLong((Long) value);
            return;
        }
        out.clear();
        valueSerializer.serialize(value, out);
        if (!isPlaceKnown()) {
            locateForWrite();
        }
        int length = out.length();
        if (engine.isCurrentEpoch(record) && Record.valueLength(record) == length) {
            Memory.copy(out.address(), Record.valueAddress(record), length);
        } else {
            record = engine.putFound(out.address(), length, keys.address(), keyLength);
        }
    }

    private void writeLong(long value) {
        if (!isPlaceKnown()) {
            locateForWrite();
        }
        long bytes = Long.reverseBytes(value);
        if (engine.isCurrentEpoch(record)) {
            Memory.putLong(Record.valueAddress(record), bytes);
            return;
        }
        out.clear();
        Memory.putLong(out.extend(Long.BYTES), bytes);
        record = engine.putFound(out.address(), Long.BYTES, keys.address(), keyLength);
    }

    /** The value of another namespace of the current key, taken out; or null. */
    final V take(N namespace) throws IOException {
        setCurrentNamespace(namespace);
        V value = read();
        if (value != null) {
            clear();
        }
        return value;
    }

    @Override
    byte[] serializedValue(int keyGroup, RecordKey key, TypeSerializer<V> safeValueSerializer) {
        long found = engine.find(keyGroup, identity, key.address(), key.length());
        if (found == 0) {
            return null;
        }
        byte[] bytes = new byte[Record.valueLength(found)];
        Memory.copyToArray(Record.valueAddress(found), bytes, 0, bytes.length);
        return bytes;
    }

    @Override
    V valueOf(int keyGroup, RecordKey key) throws IOException {
        long found = engine.find(keyGroup, identity, key.address(), key.length());
        return found == 0 ? null : decode(found);
    }

    @Override
    void setValueOf(int keyGroup, RecordKey key, V value) throws IOException {
        out.clear();
        valueSerializer.serialize(value, out);
        engine.put(keyGroup, identity, key.address(), key.length(), out.address(), out.length());
    }

    @Override
    void migrate(int keyGroup, RecordKey key, ValueMigration<V> migration) throws Exception {
        long found = engine.find(keyGroup, identity, key.address(), key.length());
        out.clear();
        migration.value(in.set(Record.valueAddress(found), Record.valueLength(found)), out);
        engine.put(keyGroup, identity, key.address(), key.length(), out.address(), out.length());
    }
}
