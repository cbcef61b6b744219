package io.headrace.slimbase;

import io.headrace.slimbase.layout.OffHeapOutput;
import java.io.IOException;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.util.FlinkRuntimeException;

/**
 * The current key's bytes outside the heap, serialized once for all states of the backend; each state appends its namespace. What a state
 * has appended holds until the next state appends.
 */
final class KeyScratch<K> implements AutoCloseable {
    private final OffHeapOutput bytes = new OffHeapOutput(256);
    private final TypeSerializer<K> serializer;
    private final boolean longs;
    private int keyLength;
    private int keyGroup;
    private long version;

    KeyScratch(TypeSerializer<K> serializer) {
        this.serializer = serializer;
        this.longs = serializer instanceof LongSerializer;
    }

    void set(K key, int newKeyGroup) {
        version++;
        keyGroup = newKeyGroup;
        bytes.clear();
        if (longs) {
            bytes.writeLong((Long) key);
            keyLength = Long.BYTES;
            return;
        }
        try {
            serializer.serialize(key, bytes);
        } catch (IOException e) {
            throw new FlinkRuntimeException("key cannot be serialized, serializer=`" + serializer + "`", e);
        }
        keyLength = bytes.length();
    }

    void setKeyGroup(int newKeyGroup) {
        version++;
        keyGroup = newKeyGroup;
    }

    /** Appends the namespace; returns the length of both. */
    <N> int append(N namespace, TypeSerializer<N> namespaceSerializer) {
        bytes.setLength(keyLength);
        try {
            namespaceSerializer.serialize(namespace, bytes);
        } catch (IOException e) {
            throw new FlinkRuntimeException("namespace cannot be serialized, serializer=`" + namespaceSerializer + "`", e);
        }
        return bytes.length();
    }

    long address() {
        return bytes.address();
    }

    int keyLength() {
        return keyLength;
    }

    int keyGroup() {
        return keyGroup;
    }

    /** Changes with the key. */
    long version() {
        return version;
    }

    @Override
    public void close() {
        bytes.close();
    }
}
