package io.headrace.slimbase;

import java.io.IOException;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.runtime.state.ttl.TtlAwareSerializer;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;

/**
 * Turns serialized values of a former serializer into the present one's, also where time to live was switched on (values get the present
 * time) or off. Lists are turned element by element, maps value by value.
 */
final class ValueMigration<V> {
    private final TtlAwareSerializer<V, ?> former;
    private final TtlAwareSerializer<V, ?> present;
    private final TtlTimeProvider clock;

    @SuppressWarnings("unchecked")
    ValueMigration(TypeSerializer<V> former, TypeSerializer<V> present, TtlTimeProvider clock) {
        this.former = (TtlAwareSerializer<V, ?>) TtlAwareSerializer.wrapTtlAwareSerializer(former);
        this.present = (TtlAwareSerializer<V, ?>) TtlAwareSerializer.wrapTtlAwareSerializer(present);
        this.clock = clock;
    }

    void value(DataInputView in, DataOutputView to) throws IOException {
        turn(former, present, in, to);
    }

    void listElement(DataInputView in, DataOutputView to) throws IOException {
        turn(
                ((TtlAwareSerializer.TtlAwareListSerializer<?>) (TtlAwareSerializer<?, ?>) former).getElementSerializer(),
                ((TtlAwareSerializer.TtlAwareListSerializer<?>) (TtlAwareSerializer<?, ?>) present).getElementSerializer(),
                in,
                to);
    }

    /** A map's value with its null flag before it. */
    void mapValue(DataInputView in, DataOutputView to) throws IOException {
        boolean isNull = in.readBoolean();
        to.writeBoolean(isNull);
        if (!isNull) {
            turn(
                    ((TtlAwareSerializer.TtlAwareMapSerializer<?, ?>) (TtlAwareSerializer<?, ?>) former).getValueSerializer(),
                    ((TtlAwareSerializer.TtlAwareMapSerializer<?, ?>) (TtlAwareSerializer<?, ?>) present).getValueSerializer(),
                    in,
                    to);
        }
    }

    @SuppressWarnings("unchecked")
    private <T> void turn(TtlAwareSerializer<?, ?> from, TtlAwareSerializer<?, ?> into, DataInputView in, DataOutputView to)
            throws IOException {
        TtlAwareSerializer<T, ?> before = (TtlAwareSerializer<T, ?>) from;
        TtlAwareSerializer<T, ?> after = (TtlAwareSerializer<T, ?>) into;
        after.migrateValueFromPriorSerializer(before, () -> before.deserialize(in), to, clock);
    }
}
