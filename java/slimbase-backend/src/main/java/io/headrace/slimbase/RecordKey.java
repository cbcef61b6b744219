package io.headrace.slimbase;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.layout.OffHeapOutput;
import java.io.IOException;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;

/** Key bytes (key and namespace) of any record, apart from the current key; close it. */
final class RecordKey implements AutoCloseable {
    private final OffHeapOutput bytes = new OffHeapOutput(128);

    <K, N> void set(K key, TypeSerializer<K> keySerializer, N namespace, TypeSerializer<N> namespaceSerializer) throws IOException {
        bytes.clear();
        keySerializer.serialize(key, bytes);
        if (!((TypeSerializer<?>) namespaceSerializer instanceof VoidNamespaceSerializer)) {
            namespaceSerializer.serialize(namespace, bytes);
        }
    }

    /** Copies the record's key bytes. */
    void set(long record) {
        int length = Record.keyLength(record);
        bytes.clear();
        long to = bytes.extend(length);
        Memory.copy(Record.keyAddress(record), to, length);
    }

    void set(byte[] key, int offset, int length) {
        bytes.clear();
        bytes.write(key, offset, length);
    }

    long address() {
        return bytes.address();
    }

    int length() {
        return bytes.length();
    }

    @Override
    public void close() {
        bytes.close();
    }
}
