package io.headrace.slimbase;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.layout.OffHeapOutput;
import io.headrace.slimbase.layout.Scratch;
import io.headrace.slimbase.nativelib.NativeLibrary;
import io.headrace.slimbase.nativelib.NativeSlim;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.apache.flink.core.asyncprocessing.InternalAsyncFuture;
import org.apache.flink.runtime.asyncprocessing.RecordContext;
import org.apache.flink.runtime.asyncprocessing.StateRequest;
import org.apache.flink.runtime.asyncprocessing.StateRequestType;

/**
 * Looks up many keys of a state in one native call, whose lookups overlap by prefetching (41 to 75 ns a key against 160 to 330 ns one by one,
 * bench/state.py), and answers from the records: values, lists, small maps. What needs more (a list that is to be joined, a map with
 * pages) is left to the executor, which goes one by one and finds the first record in the cache. Without the native library, and for a few requests,
 * nothing is read here.
 */
final class BatchedReads<K> implements AutoCloseable {
    /** Requests that only read. */
    static final Set<StateRequestType> READS = EnumSet.of(
            StateRequestType.VALUE_GET,
            StateRequestType.REDUCING_GET,
            StateRequestType.AGGREGATING_GET,
            StateRequestType.LIST_GET,
            StateRequestType.MAP_GET,
            StateRequestType.MAP_CONTAINS,
            StateRequestType.MAP_IS_EMPTY);

    /** Below this a call is not worth its preparation. */
    private static final int LEAST = 4;
    private static final int KEY_ENTRY = 16;

    private final SlimKeyedStateBackend<K> backend;
    private final boolean usable;
    private final OffHeapOutput keyBytes = new OffHeapOutput(4096);
    private final Scratch entries = new Scratch(4096);
    private final Scratch results = new Scratch(2048);

    BatchedReads(SlimKeyedStateBackend<K> backend) {
        this.backend = backend;
        this.usable = backend.isNative() && NativeLibrary.isAvailable();
    }

    /** What was read, by the request's place in the batch. */
    static final class Answers {
        private final Object[] values;
        private final boolean[] read;

        private Answers(int size) {
            this.values = new Object[size];
            this.read = new boolean[size];
        }

        boolean has(int index) {
            return read[index];
        }

        /** Takes the answer from the request's record, if it is there. */
        private void put(int index, AsyncSlimState<?, ?> asked, StateRequest<?, ?, ?, ?> request, long record) {
            Object value;
            try {
                value = asked.answer(request.getRequestType(), request.getPayload(), record);
            } catch (Exception e) {
                // Bytes that cannot be read: the executor meets them again and fails the request's future.
                return;
            }
            if (value != AsyncSlimState.NOT_WHOLE) {
                values[index] = value;
                read[index] = true;
            }
        }

        /** Completes the futures of what was read. */
        @SuppressWarnings("unchecked")
        void complete(List<StateRequest<?, ?, ?, ?>> requests) {
            for (int i = 0; i < values.length; i++) {
                if (read[i]) {
                    ((InternalAsyncFuture<Object>) requests.get(i).getFuture()).complete(values[i]);
                }
            }
        }
    }

    /** Reads what its record holds, state by state. */
    Answers read(List<StateRequest<?, ?, ?, ?>> requests) {
        Answers answers = new Answers(requests.size());
        if (usable && requests.size() >= LEAST) {
            boolean[] seen = afterWrites(requests, answers);
            for (int i = 0; i < requests.size(); i++) {
                if (!seen[i] && isRead(requests.get(i))) {
                    readState(requests, i, seen, answers);
                }
            }
        }
        return answers;
    }

    /** Reads that follow a write of the same record in the batch: these stay in their order. */
    private static boolean[] afterWrites(List<StateRequest<?, ?, ?, ?>> requests, Answers mark) {
        boolean[] after = new boolean[requests.size()];
        for (int i = 0; i < after.length; i++) {
            RecordContext<?> context = requests.get(i).getRecordContext();
            if (!isRead(requests.get(i))) {
                context.setExtra(mark);
            } else {
                after[i] = context.getExtra() == mark;
            }
        }
        return after;
    }

    private static boolean isRead(StateRequest<?, ?, ?, ?> request) {
        return READS.contains(request.getRequestType());
    }

    /** All reads of the state that the request at `first` reads. */
    @SuppressWarnings("unchecked")
    private void readState(List<StateRequest<?, ?, ?, ?>> requests, int first, boolean[] seen, Answers answers) {
        AsyncSlimState<K, Object> asked = (AsyncSlimState<K, Object>) requests.get(first).getState();
        AbstractSlimState<K, Object, ?> state = asked.sync();
        int[] places = new int[requests.size() - first];
        int count = 0;
        keyBytes.clear();
        long table = entries.ensure((long) places.length * KEY_ENTRY);
        for (int i = first; i < requests.size(); i++) {
            StateRequest<?, ?, ?, ?> request = requests.get(i);
            if (!seen[i] && isRead(request) && request.getState() == asked) {
                seen[i] = true;
                addKey(request, state, table + (long) count * KEY_ENTRY);
                places[count++] = i;
            }
        }
        if (count < LEAST) {
            return;
        }
        for (int i = 0; i < count; i++) {
            long at = table + (long) i * KEY_ENTRY + 8;
            Memory.putLong(at, keyBytes.address() + Memory.getLong(at));
        }
        long found = results.ensure(count * 8L);
        NativeSlim.mget(backend.engine().controlBlock(), state.identity, table, count, found);
        boolean hasFiles = backend.engine().hasFiles();
        for (int i = 0; i < count; i++) {
            long record = Memory.getLong(found + i * 8L);
            if (record == 0 && hasFiles) {
                // Read one by one afterwards, but the disk works on all of them from here on.
                long entry = table + (long) i * KEY_ENTRY;
                backend.engine().willNeed(Memory.getInt(entry), state.identity, Memory.getLong(entry + 8), Memory.getInt(entry + 4));
            } else {
                answers.put(places[i], asked, requests.get(places[i]), record);
            }
        }
    }

    /** Serializes the request's key; the entry has its offset until all are there and the buffer moves no more. */
    @SuppressWarnings("unchecked")
    private void addKey(StateRequest<?, ?, ?, ?> request, AbstractSlimState<K, Object, ?> state, long entry) {
        RecordContext<K> context = (RecordContext<K>) request.getRecordContext();
        backend.setCurrentKeyAndKeyGroup(context.getKey(), context.getKeyGroup());
        state.setCurrentNamespace(request.getNamespace());
        state.composeKey();
        int offset = keyBytes.length();
        long to = keyBytes.extend(state.keyLength + 7 & ~7);
        Memory.copy(backend.keys().address(), to, state.keyLength);
        Memory.putInt(entry, context.getKeyGroup());
        Memory.putInt(entry + 4, state.keyLength);
        Memory.putLong(entry + 8, offset);
    }

    @Override
    public void close() {
        keyBytes.close();
        entries.close();
        results.close();
    }
}
