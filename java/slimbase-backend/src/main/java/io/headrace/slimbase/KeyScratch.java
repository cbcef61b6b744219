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
    /** Null: nothing can be fetched ahead. */
    private final KeysAhead ahead;
    /** Keys set since a state was touched. */
    private int untouched;
    /** The {@link #version} at which more keys are to be fetched. */
    private long nextLotAt = KeysAhead.NEVER;

    KeyScratch(TypeSerializer<K> serializer, KeysAhead ahead) {
        this.serializer = serializer;
        this.ahead = ahead;
        this.longs = serializer instanceof LongSerializer;
    }

    void set(K key, int newKeyGroup) {
        version++;
        keyGroup = newKeyGroup;
        bytes.clear();
        if (longs) {
            bytes.writeLong((Long) key);
            keyLength = Long.BYTES;
        } else {
            serialize(key);
        }
        if (++untouched > KeysAhead.LEAST || version == nextLotAt) {
            lookAhead(key);
        }
    }

    private void serialize(K key) {
        try {
            serializer.serialize(key, bytes);
        } catch (IOException e) {
            throw new FlinkRuntimeException("key cannot be serialized, serializer=`" + serializer + "`", e);
        }
        keyLength = bytes.length();
    }

    private void lookAhead(K key) {
        if (version == nextLotAt) {
            nextLotAt = ahead.advance(key.hashCode());
        }
        if (untouched > KeysAhead.LEAST && ahead != null) {
            if (untouched == KeysAhead.LEAST + 1) {
                nextLotAt = KeysAhead.NEVER;
                ahead.begin(version);
            }
            ahead.add(bytes.address(), keyLength, keyGroup, key.hashCode());
        }
    }

    /** Says that a state reads or writes; returns the run of keys that it should have fetched. */
    int touch() {
        untouched = 0;
        return ahead == null ? 0 : ahead.run();
    }

    /** Fetches records of the run's keys in a state without namespaces. */
    void fetchAhead(int identity) {
        nextLotAt = ahead.fetch(identity, version);
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
