package io.headrace.slimbase.snapshot;

import java.io.IOException;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.CompositeKeySerializationUtils;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;

/**
 * Turns our key bytes (key, then namespace, nothing for VoidNamespace) into the composite keys of Flink's canonical format and back: key group,
 * key, namespace, each of the latter two followed by its length when both have no fixed one, then the user key of a map. One thread.
 */
final class CanonicalKeys {
    private final TypeSerializer<?> keySerializer;
    private final TypeSerializer<?> namespaceSerializer;
    private final int prefixBytes;
    private final boolean isAmbiguous;
    private final boolean isVoidNamespace;
    private final DataInputDeserializer in = new DataInputDeserializer();
    private final DataOutputSerializer out = new DataOutputSerializer(128);

    CanonicalKeys(TypeSerializer<?> keySerializer, TypeSerializer<?> namespaceSerializer, int numberOfKeyGroups) {
        this.keySerializer = keySerializer;
        this.namespaceSerializer = namespaceSerializer;
        this.prefixBytes = CompositeKeySerializationUtils.computeRequiredBytesInKeyGroupPrefix(numberOfKeyGroups);
        this.isAmbiguous = CompositeKeySerializationUtils.isAmbiguousKeyPossible(keySerializer, namespaceSerializer);
        this.isVoidNamespace = namespaceSerializer instanceof VoidNamespaceSerializer;
    }

    /** Begins a composite key; a user key may be appended to {@link #out()}. */
    void begin(int keyGroup, byte[] ours) throws IOException {
        out.clear();
        CompositeKeySerializationUtils.writeKeyGroup(keyGroup, prefixBytes, out);
        if (isVoidNamespace) {
            out.write(ours);
            out.writeByte(0);
        } else if (isAmbiguous) {
            in.setBuffer(ours);
            keySerializer.deserialize(in);
            int keyBytes = in.getPosition();
            out.write(ours, 0, keyBytes);
            CompositeKeySerializationUtils.writeVariableIntBytes(keyBytes, out);
            out.write(ours, keyBytes, ours.length - keyBytes);
            CompositeKeySerializationUtils.writeVariableIntBytes(ours.length - keyBytes, out);
        } else {
            out.write(ours);
        }
    }

    DataOutputSerializer out() {
        return out;
    }

    /** What has been written since {@link #begin}. */
    byte[] toBytes() {
        return out.getCopyOfBuffer();
    }

    /** Splits a composite key: puts our key bytes into {@link #out()} and returns where the user key begins. */
    int split(byte[] composite) throws IOException {
        out.clear();
        in.setBuffer(composite);
        in.skipBytesToRead(prefixBytes);
        int keyStart = in.getPosition();
        keySerializer.deserialize(in);
        int keyBytes = in.getPosition() - keyStart;
        out.write(composite, keyStart, keyBytes);
        if (isAmbiguous) {
            CompositeKeySerializationUtils.readVariableIntBytes(in, keyBytes);
        }
        int namespaceStart = in.getPosition();
        namespaceSerializer.deserialize(in);
        int namespaceBytes = in.getPosition() - namespaceStart;
        if (!isVoidNamespace) {
            out.write(composite, namespaceStart, namespaceBytes);
        }
        if (isAmbiguous) {
            CompositeKeySerializationUtils.readVariableIntBytes(in, namespaceBytes);
        }
        return in.getPosition();
    }

    int prefixBytes() {
        return prefixBytes;
    }
}
