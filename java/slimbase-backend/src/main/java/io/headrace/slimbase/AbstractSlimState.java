package io.headrace.slimbase;

import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.layout.OffHeapInput;
import io.headrace.slimbase.layout.OffHeapOutput;
import io.headrace.slimbase.registry.StateInfo;
import java.io.IOException;
import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.queryablestate.client.state.serialization.KvStateSerializer;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.internal.InternalKvState;

/**
 * What all kinds of state share: where the current key's record is, and whether the place that was looked up last is still the one.
 *
 * <p>A state that reads and then writes (value, update) does not look up twice: {@link #isPlaceKnown} holds while no other lookup, no
 * other key and no other namespace came between.
 *
 * @param <K> type of the key
 * @param <N> type of the namespace
 * @param <V> type of what the record holds as a whole
 */
abstract class AbstractSlimState<K, N, V> implements InternalKvState<K, N, V> {
    final SlimKeyedStateBackend<K> backend;
    final SlimEngine engine;
    final KeyScratch<K> keys;
    final OffHeapOutput out;
    final OffHeapInput in = new OffHeapInput();
    final StateInfo info;
    final int identity;

    TypeSerializer<N> namespaceSerializer;
    TypeSerializer<V> valueSerializer;
    private V defaultValue;
    private boolean voidNamespace;
    private N currentNamespace;

    /** Length of key and namespace after {@link #locate}. */
    int keyLength;
    /** The record that was found or written last; 0 when there is none. */
    long record;

    /** A visit of a map of 1,000 entries takes about 100 us: 0.4 us for each access. */
    private static final int VISIT_EVERY = 256;

    private int runSeen;
    private long placeStamp = -1;
    private long placeVersion;
    private int visitRequests;
    private SlimIncrementalVisitor<K, N, V> visitor;

    AbstractSlimState(SlimKeyedStateBackend<K> backend, StateInfo info) {
        this.backend = backend;
        this.engine = backend.engine();
        this.keys = backend.keys();
        this.out = backend.valueOutput();
        this.info = info;
        this.identity = info.identity();
    }

    /** Takes what a (new) description of the state says; called at creation and when the state is registered again. */
    @SuppressWarnings("unchecked")
    void update(RegisteredKeyValueStateBackendMetaInfo<N, V> meta, StateDescriptor<?, V> descriptor) {
        namespaceSerializer = meta.getNamespaceSerializer();
        voidNamespace = (TypeSerializer<?>) namespaceSerializer instanceof VoidNamespaceSerializer;
        valueSerializer = meta.getStateSerializer();
        defaultValue = descriptor.getDefaultValue();
        forgetPlace();
    }

    @Override
    public TypeSerializer<K> getKeySerializer() {
        return backend.getKeySerializer();
    }

    @Override
    public TypeSerializer<N> getNamespaceSerializer() {
        return namespaceSerializer;
    }

    @Override
    public TypeSerializer<V> getValueSerializer() {
        return valueSerializer;
    }

    @Override
    public void setCurrentNamespace(N namespace) {
        if (!voidNamespace) {
            placeStamp = -1;
        }
        currentNamespace = namespace;
    }

    N currentNamespace() {
        return currentNamespace;
    }

    V defaultValue() {
        return defaultValue == null ? null : valueSerializer.copy(defaultValue);
    }

    /** Puts the namespace behind the key; afterwards key bytes are {@code keys.address()} and {@code keyLength}. */
    final void composeKey() {
        int run = keys.touch();
        if (run != runSeen) {
            runSeen = run;
            if (voidNamespace) {
                keys.fetchAhead(identity);
            }
        }
        keyLength = voidNamespace ? keys.keyLength() : keys.append(currentNamespace, namespaceSerializer);
    }

    /** Looks up the record of the current key and namespace; 0 when there is none. */
    final long locate() {
        composeKey();
        record = engine.find(keys.keyGroup(), identity, keys.address(), keyLength);
        placeStamp = engine.findStamp();
        placeVersion = keys.version();
        return record;
    }

    /** Like {@link #locate}, for a value that will be overwritten: what is only in a file is not read. */
    final void locateForWrite() {
        composeKey();
        record = engine.findInMemory(keys.keyGroup(), identity, keys.address(), keyLength);
        placeStamp = engine.findStamp();
        placeVersion = keys.version();
    }

    /** Whether {@link #record} is still the current key's and nothing has moved. */
    final boolean isPlaceKnown() {
        return placeStamp == engine.findStamp() && placeVersion == keys.version() && engine.lastFindValid();
    }

    final void forgetPlace() {
        placeStamp = -1;
    }

    @Override
    public void clear() {
        composeKey();
        engine.remove(keys.keyGroup(), identity, keys.address(), keyLength);
        forgetPlace();
    }

    // --- off the current key: queries, clean-up, migration ---------------------------------------------------------------

    @Override
    public byte[] getSerializedValue(
            byte[] serializedKeyAndNamespace,
            TypeSerializer<K> safeKeySerializer,
            TypeSerializer<N> safeNamespaceSerializer,
            TypeSerializer<V> safeValueSerializer)
            throws Exception {
        Tuple2<K, N> keyAndNamespace =
                KvStateSerializer.deserializeKeyAndNamespace(serializedKeyAndNamespace, safeKeySerializer, safeNamespaceSerializer);
        return backend.queries().ask(() -> {
            try (RecordKey key = new RecordKey()) {
                key.set(keyAndNamespace.f0, safeKeySerializer, keyAndNamespace.f1, safeNamespaceSerializer);
                int keyGroup = backend.keyGroupOf(keyAndNamespace.f0);
                return serializedValue(keyGroup, key, safeValueSerializer);
            }
        });
    }

    /** The value as queries get it, or null; on the task thread. */
    abstract byte[] serializedValue(int keyGroup, RecordKey key, TypeSerializer<V> safeValueSerializer) throws Exception;

    /** The value of any key, or null. */
    abstract V valueOf(int keyGroup, RecordKey key) throws IOException;

    /** Sets the value of any key. */
    abstract void setValueOf(int keyGroup, RecordKey key, V value) throws IOException;

    /** Takes the value of any key out. */
    void removeValueOf(int keyGroup, RecordKey key) {
        engine.remove(keyGroup, identity, key.address(), key.length());
    }

    /**
     * Flink asks at each access to a state with time to live and then visits several entries, which for maps and lists means to read all that they hold.
     * So only every {@link #VISIT_EVERY}th access gets one entry to visit; whole values need no visits, since cleaning leaves expired ones out.
     */
    @Override
    public StateIncrementalVisitor<K, N, V> getStateIncrementalVisitor(int recommendedMaxNumberOfReturnedRecords) {
        if (!needsVisits() || ++visitRequests % VISIT_EVERY != 0) {
            return NoVisitor.instance();
        }
        if (visitor == null || !visitor.isMore()) {
            visitor = new SlimIncrementalVisitor<>(backend, this);
        }
        return visitor.turn();
    }

    /** Whether expired parts of a record can only be found by reading it. */
    boolean needsVisits() {
        return true;
    }

    /** Rewrites the record that a cursor stands at from the former serializer to the present one. */
    abstract void migrate(int keyGroup, RecordKey key, ValueMigration<V> migration) throws Exception;

    /** The state as users see it. */
    @SuppressWarnings("unchecked")
    <S extends State> S asState() {
        return (S) this;
    }
}
