package io.headrace.slimbase;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.layout.MapPages;
import io.headrace.slimbase.layout.MapRun;
import io.headrace.slimbase.registry.StateInfo;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.MapSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.queryablestate.client.state.serialization.KvStateSerializer;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.internal.InternalMapState;

/** Map state over {@link MapPages}: small maps in one record, large ones in pages of a few entries, in the order of the user keys' bytes. */
final class SlimMapState<K, N, UK, UV> extends AbstractSlimState<K, N, Map<UK, UV>>
        implements InternalMapState<K, N, UK, UV>, OrderedMapState<UK, UV> {
    private final MapPages pages;
    private TypeSerializer<UK> userKeys;
    private TypeSerializer<UV> userValues;
    private int userKeyLength;

    SlimMapState(SlimKeyedStateBackend<K> backend, StateInfo info) {
        super(backend, info);
        this.pages = backend.mapPages();
    }

    @Override
    void update(RegisteredKeyValueStateBackendMetaInfo<N, Map<UK, UV>> meta, StateDescriptor<?, Map<UK, UV>> descriptor) {
        super.update(meta, descriptor);
        MapSerializer<UK, UV> serializer = (MapSerializer<UK, UV>) valueSerializer;
        userKeys = serializer.getKeySerializer();
        userValues = serializer.getValueSerializer();
    }

    TypeSerializer<UK> userKeySerializer() {
        return userKeys;
    }

    TypeSerializer<UV> userValueSerializer() {
        return userValues;
    }

    private void serializeUserKey(UK userKey) throws IOException {
        out.clear();
        userKeys.serialize(userKey, out);
        userKeyLength = out.length();
    }

    private void serializeEntry(UK userKey, UV value) throws IOException {
        serializeUserKey(userKey);
        out.write(value == null ? 1 : 0);
        if (value != null) {
            userValues.serialize(value, out);
        }
    }

    @Override
    public UV get(UK userKey) throws IOException {
        serializeUserKey(userKey);
        composeKey();
        return decode(pages.get(keys.keyGroup(), identity, keys.address(), keyLength, out.address(), userKeyLength));
    }

    private UV decode(long found) throws IOException {
        if (found == 0) {
            return null;
        }
        in.set(found, pages.foundLength());
        return in.readBoolean() ? null : userValues.deserialize(in);
    }

    @Override
    public boolean contains(UK userKey) throws IOException {
        serializeUserKey(userKey);
        composeKey();
        return pages.get(keys.keyGroup(), identity, keys.address(), keyLength, out.address(), userKeyLength) != 0;
    }

    /** Whether the record (0: none) is all of its map. */
    static boolean isWhole(long root) {
        return root == 0 || !MapPages.isPaged(root);
    }

    /** The value in a map whose one record was looked up. */
    UV getIn(long root, UK userKey) throws IOException {
        serializeUserKey(userKey);
        return decode(root == 0 ? 0 : pages.getSmall(root, out.address(), userKeyLength));
    }

    boolean containsIn(long root, UK userKey) throws IOException {
        serializeUserKey(userKey);
        return root != 0 && pages.getSmall(root, out.address(), userKeyLength) != 0;
    }

    @Override
    public void put(UK userKey, UV value) throws IOException {
        serializeEntry(userKey, value);
        composeKey();
        putSerialized(keys.keyGroup(), keys.address(), keyLength);
    }

    /** The entry is in the output: user key, then value. */
    private void putSerialized(int keyGroup, long key, int length) {
        long entry = out.address();
        int valueLength = out.length() - userKeyLength;
        pages.put(keyGroup, identity, key, length, entry, userKeyLength, entry + userKeyLength, valueLength);
    }

    @Override
    public void putAll(Map<UK, UV> map) throws IOException {
        if (map == null) {
            return;
        }
        for (Map.Entry<UK, UV> entry : map.entrySet()) {
            put(entry.getKey(), entry.getValue());
        }
    }

    @Override
    public void remove(UK userKey) throws IOException {
        serializeUserKey(userKey);
        composeKey();
        pages.remove(keys.keyGroup(), identity, keys.address(), keyLength, out.address(), userKeyLength);
    }

    @Override
    public boolean isEmpty() {
        return locate() == 0;
    }

    @Override
    public void clear() {
        composeKey();
        pages.clear(keys.keyGroup(), identity, keys.address(), keyLength);
    }

    // --- iteration -------------------------------------------------------------------------------------------------------

    @Override
    public Iterable<Map.Entry<UK, UV>> entries() {
        return iterable(entry -> entry);
    }

    @Override
    public Iterable<UK> keys() {
        return iterable(Map.Entry::getKey);
    }

    @Override
    public Iterable<UV> values() {
        return iterable(Map.Entry::getValue);
    }

    @Override
    public Iterator<Map.Entry<UK, UV>> iterator() {
        return entries().iterator();
    }

    private <T> Iterable<T> iterable(Function<Map.Entry<UK, UV>, T> view) {
        byte[] key = currentKeyBytes();
        int keyGroup = keys.keyGroup();
        return () -> new SlimMapIterator<>(this, keyGroup, key, null, null, view);
    }

    private byte[] currentKeyBytes() {
        composeKey();
        return bytesAt(keys.address(), keyLength);
    }

    private static byte[] bytesAt(long address, int length) {
        byte[] bytes = new byte[length];
        Memory.copyToArray(address, bytes, 0, length);
        return bytes;
    }

    @Override
    public Iterable<Map.Entry<UK, UV>> range(UK fromInclusive, UK toExclusive) throws IOException {
        if (!((TypeSerializer<?>) userKeys instanceof LongSerializer)) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Unsupported,
                    "range read needs user keys of a LongSerializer, state=`" + info.name() + "`, serializer=`" + userKeys + "`",
                    "key the map by time in ms",
                    null);
        }
        byte[] key = currentKeyBytes();
        int keyGroup = keys.keyGroup();
        List<Iterable<Map.Entry<UK, UV>>> parts = new ArrayList<>(2);
        for (LongRange part : LongRange.of((Long) fromInclusive, (Long) toExclusive)) {
            parts.add(() -> new SlimMapIterator<>(this, keyGroup, key, part.from(), part.to(), Function.identity()));
        }
        return parts.size() == 1 ? parts.get(0) : () -> new ChainedIterator<>(parts.iterator());
    }

    // --- for iterators, which remember their key as bytes ----------------------------------------------------------------

    /** Loads entries after the user key (`inclusive`: from it on; null: from the first on). */
    boolean load(int keyGroup, byte[] key, byte[] userKey, int offset, int length, boolean inclusive, MapRun run) {
        long keyAddress = backend.iteratorKey().set(key);
        long userKeyAddress = 0;
        if (userKey != null) {
            out.clear();
            out.write(userKey, offset, length);
            userKeyAddress = out.address();
        }
        return pages.load(keyGroup, identity, keyAddress, key.length, userKeyAddress, length, inclusive, run);
    }

    void removeOf(int keyGroup, byte[] key, byte[] userKey, int offset, int length) {
        long keyAddress = backend.iteratorKey().set(key);
        out.clear();
        out.write(userKey, offset, length);
        pages.remove(keyGroup, identity, keyAddress, key.length, out.address(), length);
    }

    void putOf(int keyGroup, byte[] key, UK userKey, UV value) throws IOException {
        serializeEntry(userKey, value);
        putSerialized(keyGroup, backend.iteratorKey().set(key), key.length);
    }

    // --- off the current key ---------------------------------------------------------------------------------------------

    @Override
    byte[] serializedValue(int keyGroup, RecordKey key, TypeSerializer<Map<UK, UV>> safeValueSerializer) throws Exception {
        MapSerializer<UK, UV> serializer = (MapSerializer<UK, UV>) safeValueSerializer;
        byte[] keyBytes = bytesAt(key.address(), key.length());
        Iterable<Map.Entry<UK, UV>> all = () -> new SlimMapIterator<>(this, keyGroup, keyBytes, null, null, Function.identity());
        if (!all.iterator().hasNext()) {
            return null;
        }
        return KvStateSerializer.serializeMap(all, serializer.getKeySerializer(), serializer.getValueSerializer());
    }

    @Override
    Map<UK, UV> valueOf(int keyGroup, RecordKey key) {
        byte[] keyBytes = bytesAt(key.address(), key.length());
        SlimMapIterator<K, N, UK, UV, Map.Entry<UK, UV>> all =
                new SlimMapIterator<>(this, keyGroup, keyBytes, null, null, Function.identity());
        if (!all.hasNext()) {
            return null;
        }
        Map<UK, UV> map = new HashMap<>();
        all.forEachRemaining(entry -> {
            // With a time to live a null is an expired entry of a savepoint that rocksdb wrote.
            if (entry.getValue() != null || info.ttlMs() == 0) {
                map.put(entry.getKey(), entry.getValue());
            }
        });
        return map;
    }

    @Override
    void setValueOf(int keyGroup, RecordKey key, Map<UK, UV> map) throws IOException {
        removeValueOf(keyGroup, key);
        for (Map.Entry<UK, UV> entry : map.entrySet()) {
            serializeEntry(entry.getKey(), entry.getValue());
            putSerialized(keyGroup, key.address(), key.length());
        }
    }

    @Override
    void removeValueOf(int keyGroup, RecordKey key) {
        pages.clear(keyGroup, identity, key.address(), key.length());
    }

    @Override
    void migrate(int keyGroup, RecordKey key, ValueMigration<Map<UK, UV>> migration) throws Exception {
        byte[] keyBytes = bytesAt(key.address(), key.length());
        DataInputDeserializer value = new DataInputDeserializer();
        MapRun run = new MapRun();
        byte[] last = null;
        int lastOffset = 0;
        int lastLength = 0;
        while (load(keyGroup, keyBytes, last, lastOffset, lastLength, false, run)) {
            while (run.hasNext()) {
                run.advance();
                value.setBuffer(run.bytes(), run.valueOffset(), run.valueLength());
                out.clear();
                out.write(run.bytes(), run.keyOffset(), run.keyLength());
                userKeyLength = run.keyLength();
                migration.mapValue(value, out);
                putSerialized(keyGroup, key.address(), key.length());
            }
            last = run.bytes();
            lastOffset = run.keyOffset();
            lastLength = run.keyLength();
        }
    }
}
