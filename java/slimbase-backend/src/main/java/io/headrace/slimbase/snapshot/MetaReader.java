package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.registry.BackendContext;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSchemaCompatibility;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.memory.DataInputViewStreamWrapper;
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

    private final BackendContext<K> context;
    private boolean keySerializerChecked;

    MetaReader(BackendContext<K> context) {
        this.context = context;
    }

    Meta<K> read(StreamStateHandle handle) throws IOException, StateMigrationException {
        String name = handle.getStreamStateHandleID().getKeyString();
        try (FSDataInputStream stream = handle.openInputStream()) {
            context.cancelRegistry().registerCloseable(stream);
            try {
                DataInputViewStreamWrapper in = new DataInputViewStreamWrapper(stream);
                KeyedBackendSerializationProxy<K> proxy = new KeyedBackendSerializationProxy<>(context.userClassLoader());
                proxy.read(in);
                checkKeySerializer(proxy);
                return new Meta<>(proxy, Manifest.read(in, name));
            } finally {
                context.cancelRegistry().unregisterCloseable(stream);
            }
        } catch (EOFException e) {
            throw corrupt("meta file is cut off", name, e);
        } catch (FileNotFoundException | NoSuchFileException e) {
            throw corrupt("meta file is missing", name, e);
        }
    }

    static SlimBaseException corrupt(String what, String name, Exception cause) {
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
