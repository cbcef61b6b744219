package io.headrace.slimbase.registry;

import io.headrace.slimbase.engine.SlimBaseException;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.ListSerializer;
import org.apache.flink.api.common.typeutils.base.MapSerializer;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;

/** What a state holds, as the manifest numbers it (docs/concepts/slimbase-format.md, section Manifest). */
public enum StateKind {
    VALUE(0),
    LIST(1),
    MAP(2),
    REDUCING(3),
    AGGREGATING(4),
    /** A queue of timers: on the heap, only in files. */
    QUEUE(5);

    private final byte code;

    StateKind(int code) {
        this.code = (byte) code;
    }

    /** The number in the manifest. */
    public byte code() {
        return code;
    }

    /** Whether the record's value is the serializer's bytes and nothing else. */
    public boolean isWholeValue() {
        return this == VALUE || this == REDUCING || this == AGGREGATING;
    }

    /** The kind with that number; Corrupt when there is none. */
    public static StateKind ofCode(int code) {
        if (code < 0 || code >= values().length) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Corrupt, "kind of state is not known, kind=" + code, "restore an older checkpoint", null);
        }
        return values()[code];
    }

    /** The kind that Flink's description tells; a state of unknown type is told by its serializer. */
    public static StateKind of(RegisteredKeyValueStateBackendMetaInfo<?, ?> info) {
        switch (info.getStateType()) {
            case VALUE:
                return VALUE;
            case LIST:
                return LIST;
            case MAP:
                return MAP;
            case REDUCING:
                return REDUCING;
            case AGGREGATING:
                return AGGREGATING;
            default:
                return ofSerializer(info.getStateSerializer());
        }
    }

    private static StateKind ofSerializer(TypeSerializer<?> serializer) {
        if (serializer instanceof ListSerializer) {
            return LIST;
        }
        return serializer instanceof MapSerializer ? MAP : VALUE;
    }
}
