package io.headrace.slimbase;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.engine.RecordVisitor;
import io.headrace.slimbase.engine.SlimEngine;
import io.headrace.slimbase.layout.OffHeapInput;
import io.headrace.slimbase.layout.OffHeapOutput;
import io.headrace.slimbase.registry.BackendContext;
import io.headrace.slimbase.registry.StateInfo;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.util.FlinkRuntimeException;

/**
 * Streams of keys. A key group's keys are read when the stream comes to it, so a stream needs the memory of one key group's keys, tolerates
 * whatever is written meanwhile, and needs no closing.
 */
final class KeyWalk<K> {
    private final BackendContext<K> context;
    private final SlimEngine engine;
    private final TypeSerializer<K> keySerializer;
    private final OffHeapInput input = new OffHeapInput();

    KeyWalk(BackendContext<K> context) {
        this.context = context;
        this.engine = context.engine();
        this.keySerializer = context.keySerializer();
    }

    /** Keys that any of the states has in the namespace, each once. */
    @SuppressWarnings("unchecked")
    <N> Stream<K> keys(List<StateInfo> states, N namespace) {
        if (states.isEmpty()) {
            return Stream.empty();
        }
        TypeSerializer<N> serializer = (TypeSerializer<N>) states.get(0).metaInfo().getNamespaceSerializer();
        byte[] wanted = namespaceBytes(namespace, serializer);
        return keyGroups().flatMap(keyGroup -> keysOf(keyGroup, states, wanted).stream());
    }

    /** Keys and namespaces of a state. */
    <N> Stream<Tuple2<K, N>> keysAndNamespaces(StateInfo state) {
        return keyGroups().flatMap(keyGroup -> this.<N>keysAndNamespacesOf(keyGroup, state).stream());
    }

    private Stream<Integer> keyGroups() {
        return IntStream.rangeClosed(context.keyGroupRange().getStartKeyGroup(), context.keyGroupRange().getEndKeyGroup()).boxed();
    }

    private static <N> byte[] namespaceBytes(N namespace, TypeSerializer<N> serializer) {
        if ((TypeSerializer<?>) serializer instanceof VoidNamespaceSerializer) {
            return new byte[0];
        }
        try (OffHeapOutput bytes = new OffHeapOutput(64)) {
            serializer.serialize(namespace, bytes);
            return bytes.toBytes();
        } catch (IOException e) {
            throw new FlinkRuntimeException("namespace cannot be serialized, serializer=`" + serializer + "`", e);
        }
    }

    private List<K> keysOf(int keyGroup, List<StateInfo> states, byte[] namespace) {
        List<K> keys = new ArrayList<>();
        walk(keyGroup, states, record -> {
            int keyLength = Record.keyLength(record);
            long address = Record.keyAddress(record);
            if (keyLength < namespace.length || !endsWith(address + keyLength, namespace)) {
                return;
            }
            input.set(address, keyLength);
            K key = keySerializer.deserialize(input);
            if (input.available() == namespace.length && !hasEarlier(record, keyGroup, states)) {
                keys.add(key);
            }
        });
        return keys;
    }

    private static boolean endsWith(long end, byte[] suffix) {
        for (int i = 1; i <= suffix.length; i++) {
            if (Memory.getByte(end - i) != suffix[suffix.length - i]) {
                return false;
            }
        }
        return true;
    }

    /** Whether a state that stands before the record's in the list has the same key, and so names it. */
    private boolean hasEarlier(long record, int keyGroup, List<StateInfo> states) {
        for (StateInfo state : states) {
            if (state.identity() == Record.identity(record)) {
                return false;
            }
            if (engine.find(keyGroup, state.identity(), Record.keyAddress(record), Record.keyLength(record)) != 0) {
                return true;
            }
        }
        return false;
    }

    @SuppressWarnings("unchecked")
    private <N> List<Tuple2<K, N>> keysAndNamespacesOf(int keyGroup, StateInfo state) {
        TypeSerializer<N> serializer = (TypeSerializer<N>) state.metaInfo().getNamespaceSerializer();
        boolean isVoid = (TypeSerializer<?>) serializer instanceof VoidNamespaceSerializer;
        List<Tuple2<K, N>> found = new ArrayList<>();
        walk(keyGroup, List.of(state), record -> {
            input.set(Record.keyAddress(record), Record.keyLength(record));
            K key = keySerializer.deserialize(input);
            found.add(Tuple2.of(key, isVoid ? (N) VoidNamespace.INSTANCE : serializer.deserialize(input)));
        });
        return found;
    }

    private void walk(int keyGroup, List<StateInfo> states, RecordVisitor visitor) {
        try {
            engine.forEachRecord(keyGroup, record -> {
                int identity = Record.identity(record);
                for (StateInfo state : states) {
                    if (state.identity() == identity) {
                        visitor.visit(record);
                        return;
                    }
                }
            });
        } catch (Exception e) {
            throw new FlinkRuntimeException("keys cannot be read, key_group=" + keyGroup, e);
        }
    }
}
