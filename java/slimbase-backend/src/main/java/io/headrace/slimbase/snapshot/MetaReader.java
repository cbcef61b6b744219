package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.cold.CheckpointFile;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.file.FileSource;
import io.headrace.slimbase.registry.BackendContext;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSchemaCompatibility;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.runtime.state.KeyedBackendSerializationProxy;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.util.StateMigrationException;

/** Reads meta streams, and checks the key serializer with the first one. */
final class MetaReader<K> {
    /** A meta stream's two parts. */
    static final class Meta<K> {
        final KeyedBackendSerializationProxy<K> proxy;
        final Manifest manifest;

        Meta(KeyedBackendSerializationProxy<K> proxy, Manifest manifest) {
            this.proxy = proxy;
            this.manifest = manifest;
        }
    }

    private static final int CHECKSUM_BYTES = 4;

    private final BackendContext<K> context;
    private boolean keySerializerChecked;

    MetaReader(BackendContext<K> context) {
        this.context = context;
    }

    Meta<K> read(StreamStateHandle handle) throws IOException, StateMigrationException {
        String name = handle.getStreamStateHandleID().getKeyString();
        DataInputDeserializer in = new DataInputDeserializer();
        byte[] content = content(handle, name);
        in.setBuffer(content, 0, content.length - CHECKSUM_BYTES);
        KeyedBackendSerializationProxy<K> proxy = new KeyedBackendSerializationProxy<>(context.userClassLoader());
        proxy.read(in);
        checkKeySerializer(proxy);
        return new Meta<>(proxy, Manifest.read(in, name));
    }

    /** All bytes, the checksum at their end having been checked: what they describe decides how everything else is read. */
    private byte[] content(StreamStateHandle handle, String name) throws IOException {
        CheckpointFile file = CheckpointFile.stored("meta", handle);
        byte[] content = new byte[Math.toIntExact(handle.getStateSize())];
        try (FileSource source = file.open()) {
            context.cancelRegistry().registerCloseable(source);
            try {
                source.read(0, content, 0, content.length);
            } finally {
                context.cancelRegistry().unregisterCloseable(source);
            }
        } catch (EOFException e) {
            throw corrupt("meta file is cut off, wanted_bytes=" + content.length, name, e);
        } catch (IOException | SlimBaseException e) {
            if (file.isMissing(e)) {
                throw corrupt("meta file is missing", name, e);
            }
            throw e;
        }
        if (content.length < CHECKSUM_BYTES) {
            throw corrupt("meta file is cut off, bytes=" + content.length, name, null);
        }
        int checked = content.length - CHECKSUM_BYTES;
        CRC32C checksum = new CRC32C();
        checksum.update(content, 0, checked);
        int stored = ByteBuffer.wrap(content).getInt(checked);
        if ((int) checksum.getValue() != stored) {
            throw corrupt(
                    String.format(
                            "checksum of the meta file does not fit, bytes=%d, stored_crc32c=%08x, computed_crc32c=%08x",
                            content.length, stored, (int) checksum.getValue()),
                    name,
                    null);
        }
        return content;
    }

    static SlimBaseException corrupt(String what, String name, Throwable cause) {
        return new SlimBaseException(
                SlimBaseException.Kind.Corrupt, what + ", file=`" + name + "`", "restore an older checkpoint", cause);
    }

    private void checkKeySerializer(KeyedBackendSerializationProxy<K> proxy) throws StateMigrationException {
        if (keySerializerChecked) {
            return;
        }
        TypeSerializer<K> current = context.keySerializerProvider().currentSchemaSerializer();
        TypeSerializerSchemaCompatibility<K> compatibility =
                context.keySerializerProvider().setPreviousSerializerSnapshotForRestoredState(proxy.getKeySerializerSnapshot());
        if (compatibility.isIncompatible() || compatibility.isCompatibleAfterMigration()) {
            throw new StateMigrationException(
                    "the new key serializer must be compatible with the old one, new=`"
                            + current
                            + "`, old=`"
                            + context.keySerializerProvider().previousSchemaSerializer()
                            + "`");
        }
        keySerializerChecked = true;
    }
}
