package io.headrace.slimbase;

import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.registry.BackendContext;
import io.headrace.slimbase.registry.StateInfo;
import io.headrace.slimbase.registry.StateKind;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSchemaCompatibility;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.ListSerializer;
import org.apache.flink.api.common.typeutils.base.MapSerializer;
import org.apache.flink.api.common.typeutils.base.MapSerializerSnapshot;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.StateSnapshotTransformer.StateSnapshotTransformFactory;
import org.apache.flink.runtime.state.ttl.TtlStateFactory;
import org.apache.flink.util.StateMigrationException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Registers states: checks a restored state's serializers against those of the job as it is now, rewrites values where the format has changed, and
 * sets the filter of states with a time to live.
 */
final class StateRegistration<K> {
    private static final Logger LOG = LoggerFactory.getLogger(StateRegistration.class);

    private final SlimKeyedStateBackend<K> backend;
    private final BackendContext<K> context;

    StateRegistration(SlimKeyedStateBackend<K> backend, BackendContext<K> context) {
        this.backend = backend;
        this.context = context;
    }

    /** Registers the state, or updates what a checkpoint has restored. */
    @SuppressWarnings("unchecked")
    <N, V, E> StateInfo register(
            TypeSerializer<N> namespaceSerializer,
            StateDescriptor<?, V> descriptor,
            StateSnapshotTransformFactory<E> transforms,
            boolean allowFutureMetadataUpdates)
            throws Exception {
        TypeSerializer<V> serializer = descriptor.getSerializer();
        StateInfo info = context.registry().state(descriptor.getName());
        RegisteredKeyValueStateBackendMetaInfo<N, V> meta;
        if (info == null) {
            meta = new RegisteredKeyValueStateBackendMetaInfo<>(
                    descriptor.getType(), descriptor.getName(), namespaceSerializer, serializer);
        } else {
            meta = (RegisteredKeyValueStateBackendMetaInfo<N, V>) info.metaInfo();
            updateRestored(info, meta, namespaceSerializer, serializer, descriptor);
        }
        if (allowFutureMetadataUpdates) {
            meta = meta.withSerializerUpgradesAllowed();
        }
        if (info == null) {
            info = context.registry().register(descriptor.getName(), StateKind.of(meta), meta, 0);
        }
        meta.updateSnapshotTransformFactory(
                SnapshotTransforms.serialized(info.kind(), meta.getStateSerializer(), transforms));
        info.setMetaInfo(meta);
        setTtl(info, meta.getStateSerializer(), descriptor.getTtlConfig());
        return info;
    }

    private <N, V> void updateRestored(
            StateInfo info,
            RegisteredKeyValueStateBackendMetaInfo<N, V> meta,
            TypeSerializer<N> namespaceSerializer,
            TypeSerializer<V> serializer,
            StateDescriptor<?, V> descriptor)
            throws Exception {
        TypeSerializer<N> formerNamespaces = meta.getNamespaceSerializer();
        TypeSerializerSchemaCompatibility<N> namespaces = meta.updateNamespaceSerializer(namespaceSerializer);
        if (namespaces.isCompatibleAfterMigration() || namespaces.isIncompatible()) {
            throw new StateMigrationException(
                    "namespaces cannot be migrated, state=`" + info.name() + "`, serializer=`" + namespaceSerializer + "`, former=`"
                            + formerNamespaces + "`");
        }
        meta.checkStateMetaInfo(descriptor);
        TypeSerializer<V> former = meta.getStateSerializer();
        TypeSerializerSchemaCompatibility<V> values = meta.updateStateSerializer(serializer);
        if (values.isIncompatible()) {
            throw new StateMigrationException(
                    "state's new serializer cannot read what the former one wrote, state=`" + info.name() + "`, serializer=`" + serializer
                            + "`, former=`" + former + "`");
        }
        if (values.isCompatibleAfterMigration()) {
            migrate(info, meta, descriptor);
        }
    }

    private <N, V> void migrate(
            StateInfo info, RegisteredKeyValueStateBackendMetaInfo<N, V> meta, StateDescriptor<?, V> descriptor) throws Exception {
        if (info.kind() == StateKind.MAP) {
            checkUserKeys(info, meta);
        }
        LOG.info("state is rewritten for its new serializer, state=`{}`, records={}", info.name(), context.engine().recordCount(info.identity()));
        // The old clock of the filter is not the new values' one.
        context.engine().setFilter(info.stateId(), null);
        AbstractSlimState<K, N, V> state = create(info, descriptor);
        state.update(meta, descriptor);
        backend.migrate(
                info,
                state,
                new ValueMigration<>(meta.getPreviousStateSerializer(), meta.getStateSerializer(), context.ttlTimeProvider()));
    }

    /** Entries are ordered by their user keys' bytes, so those must stay as they are. */
    @SuppressWarnings("unchecked")
    private static <V> void checkUserKeys(StateInfo info, RegisteredKeyValueStateBackendMetaInfo<?, V> meta) throws StateMigrationException {
        TypeSerializerSnapshot<Object> former =
                (TypeSerializerSnapshot<Object>)
                        ((MapSerializerSnapshot<?, ?>) (TypeSerializerSnapshot<?>) meta.getPreviousStateSerializerSnapshot())
                                .getKeySerializerSnapshot();
        TypeSerializer<Object> present =
                (TypeSerializer<Object>) ((MapSerializer<?, ?>) (TypeSerializer<?>) meta.getStateSerializer()).getKeySerializer();
        if (!present.snapshotConfiguration().resolveSchemaCompatibility(former).isCompatibleAsIs()) {
            throw new StateMigrationException(
                    "user keys of a map cannot be migrated, only its values, state=`" + info.name() + "`, serializer=`" + present + "`");
        }
    }

    private void setTtl(StateInfo info, TypeSerializer<?> serializer, StateTtlConfig config) {
        boolean expires = config.isEnabled() && hasTimestamps(serializer);
        info.setTtlMs(expires ? config.getTimeToLive().toMillis() : 0);
        boolean cleaned = expires && config.getCleanupStrategies().isCleanupInBackground();
        context.engine().setFilter(
                info.stateId(),
                cleaned ? TtlFilters.filter(info.kind(), serializer, info.ttlMs(), context.ttlTimeProvider()) : null);
    }

    /** Whether values begin with the time of their last access: both of Flink's state APIs have a serializer of their own for that. */
    private static boolean hasTimestamps(TypeSerializer<?> serializer) {
        TypeSerializer<?> inner = serializer;
        if (serializer instanceof ListSerializer) {
            inner = ((ListSerializer<?>) serializer).getElementSerializer();
        } else if (serializer instanceof MapSerializer) {
            inner = ((MapSerializer<?, ?>) serializer).getValueSerializer();
        }
        return TtlStateFactory.TtlSerializer.isTtlStateSerializer(inner)
                || org.apache.flink.runtime.state.v2.ttl.TtlStateFactory.isTtlStateSerializer(inner);
    }

    /** A state object of the kind. */
    @SuppressWarnings("unchecked")
    <N, V> AbstractSlimState<K, N, V> create(StateInfo info, StateDescriptor<?, V> descriptor) {
        AbstractSlimState<K, ?, ?> state;
        switch (descriptor.getType()) {
            case VALUE:
                state = new SlimValueState<K, N, V>(backend, info);
                break;
            case LIST:
                state = new SlimListState<K, N, Object>(backend, info);
                break;
            case MAP:
                state = new SlimMapState<K, N, Object, Object>(backend, info);
                break;
            case REDUCING:
                state = new SlimReducingState<K, N, V>(backend, info);
                break;
            case AGGREGATING:
                state = new SlimAggregatingState<K, N, Object, V, Object>(backend, info);
                break;
            default:
                throw new SlimBaseException(
                        SlimBaseException.Kind.Unsupported,
                        "kind of state is not supported, state=`" + info.name() + "`, type=" + descriptor.getType(),
                        null,
                        null);
        }
        return (AbstractSlimState<K, N, V>) state;
    }
}
