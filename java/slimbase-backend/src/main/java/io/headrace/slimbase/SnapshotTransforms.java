package io.headrace.slimbase;

import io.headrace.slimbase.registry.StateKind;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.ListSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.runtime.state.ListDelimitedSerializer;
import org.apache.flink.runtime.state.StateSnapshotTransformer;
import org.apache.flink.runtime.state.StateSnapshotTransformer.CollectionStateSnapshotTransformer;
import org.apache.flink.runtime.state.StateSnapshotTransformer.CollectionStateSnapshotTransformer.TransformStrategy;
import org.apache.flink.runtime.state.StateSnapshotTransformer.StateSnapshotTransformFactory;
import org.apache.flink.util.FlinkRuntimeException;

/** Lets Flink's snapshot transformers (expired values are left out of full snapshots) see lists element by element and map values without flag. */
final class SnapshotTransforms {
    private SnapshotTransforms() {}

    /** The factory for serialized state of that kind: whole values, joined list elements, or values of map entries with their null flag. */
    @SuppressWarnings("unchecked")
    static <V, E> StateSnapshotTransformFactory<V> serialized(
            StateKind kind, TypeSerializer<V> stateSerializer, StateSnapshotTransformFactory<E> original) {
        return new StateSnapshotTransformFactory<V>() {
            @Override
            public Optional<StateSnapshotTransformer<V>> createForDeserializedState() {
                throw new UnsupportedOperationException("slimbase transforms serialized state only");
            }

            @Override
            public Optional<StateSnapshotTransformer<byte[]>> createForSerializedState() {
                switch (kind) {
                    case LIST:
                        TypeSerializer<E> elements = ((ListSerializer<E>) (TypeSerializer<?>) stateSerializer).getElementSerializer();
                        return original.createForDeserializedState().map(each -> new OfList<>(each, elements.duplicate()));
                    case MAP:
                        return original.createForSerializedState().map(OfMapValue::new);
                    default:
                        return original.createForSerializedState();
                }
            }
        };
    }

    private static final class OfMapValue implements StateSnapshotTransformer<byte[]> {
        private final StateSnapshotTransformer<byte[]> original;

        private OfMapValue(StateSnapshotTransformer<byte[]> original) {
            this.original = original;
        }

        @Override
        public byte[] filterOrTransform(byte[] value) {
            // A null in a state with a time to live is what rocksdb's savepoints write for an expired entry.
            if (value == null || value[0] != 0) {
                return null;
            }
            byte[] bare = Arrays.copyOfRange(value, 1, value.length);
            byte[] transformed = original.filterOrTransform(bare);
            if (transformed == null || transformed == bare) {
                return transformed == null ? null : value;
            }
            byte[] flagged = new byte[transformed.length + 1];
            System.arraycopy(transformed, 0, flagged, 1, transformed.length);
            return flagged;
        }
    }

    private static final class OfList<E> implements StateSnapshotTransformer<byte[]> {
        private final StateSnapshotTransformer<E> original;
        private final TypeSerializer<E> elements;
        private final ListDelimitedSerializer joined = new ListDelimitedSerializer();
        private final boolean stopsAtFirst;

        private OfList(StateSnapshotTransformer<E> original, TypeSerializer<E> elements) {
            this.original = original;
            this.elements = elements;
            this.stopsAtFirst =
                    original instanceof CollectionStateSnapshotTransformer
                            && ((CollectionStateSnapshotTransformer<?>) original).getFilterStrategy()
                                    == TransformStrategy.STOP_ON_FIRST_INCLUDED;
        }

        @Override
        public byte[] filterOrTransform(byte[] value) {
            if (value == null) {
                return null;
            }
            try {
                return transform(value);
            } catch (IOException e) {
                throw new FlinkRuntimeException("list cannot be transformed for the snapshot", e);
            }
        }

        private byte[] transform(byte[] value) throws IOException {
            DataInputDeserializer input = new DataInputDeserializer(value);
            List<E> kept = new ArrayList<>();
            int start = 0;
            while (input.available() > 0) {
                E element = original.filterOrTransform(ListDelimitedSerializer.deserializeNextElement(input, elements));
                if (element != null && stopsAtFirst) {
                    return Arrays.copyOfRange(value, start, value.length);
                }
                if (element != null) {
                    kept.add(element);
                }
                start = input.getPosition();
            }
            return kept.isEmpty() ? null : joined.serializeList(kept, elements);
        }
    }
}
