package io.headrace.slimbase;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.layout.OffHeapOutput;
import io.headrace.slimbase.registry.StateInfo;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.ListSerializer;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.internal.InternalListState;
import org.apache.flink.util.Preconditions;

/**
 * List state. Adding appends to the newest block or starts one that continues it; nothing that is there is read or moved. Reading goes
 * through the blocks from the oldest on, and makes one block of them when they have become many.
 */
final class SlimListState<K, N, E> extends AbstractSlimState<K, N, List<E>> implements InternalListState<K, N, E> {
    /** From here on a read pays for joining: each block is a likely cache miss, about the price of copying 2 KiB. */
    private static final int JOIN_BLOCKS = 8;
    private static final int BLOCK_HEADER = 8;
    private static final byte DELIMITER = ',';

    private TypeSerializer<E> elements;
    private long[] blocks = new long[16];

    SlimListState(SlimKeyedStateBackend<K> backend, StateInfo info) {
        super(backend, info);
    }

    @Override
    void update(RegisteredKeyValueStateBackendMetaInfo<N, List<E>> meta, StateDescriptor<?, List<E>> descriptor) {
        super.update(meta, descriptor);
        elements = ((ListSerializer<E>) valueSerializer).getElementSerializer();
    }

    @Override
    public Iterable<E> get() throws IOException {
        return getInternal();
    }

    @Override
    public List<E> getInternal() throws IOException {
        long head = locate();
        if (head == 0) {
            return null;
        }
        int count = loadBlocks(head);
        List<E> list = new ArrayList<>(elementCount(count));
        readElements(count, list);
        if (count >= JOIN_BLOCKS) {
            int sum = join(count, out);
            engine.putList(keys.keyGroup(), identity, keys.address(), keyLength, out.address(), out.length(), sum);
        }
        return list;
    }

    /** The list whose newest record was looked up, 0: an empty one; null when it should be joined, which only the current key's can be. */
    List<E> readFrom(long head) throws IOException {
        if (head == 0) {
            return List.of();
        }
        int count = loadBlocks(head);
        if (count >= JOIN_BLOCKS) {
            return null;
        }
        List<E> list = new ArrayList<>(elementCount(count));
        readElements(count, list);
        return list;
    }

    /** Loads the chain's blocks, newest first. */
    private int loadBlocks(long head) {
        int count = engine.chain(head, blocks);
        if (count > blocks.length) {
            blocks = new long[count + count / 2];
            count = engine.chain(head, blocks);
        }
        return count;
    }

    private int elementCount(int blockCount) {
        int sum = 0;
        for (int i = 0; i < blockCount; i++) {
            sum += Memory.getInt(Record.valueAddress(blocks[i]) + 4);
        }
        return sum;
    }

    private void readElements(int blockCount, List<E> to) throws IOException {
        for (int i = blockCount - 1; i >= 0; i--) {
            long block = Record.valueAddress(blocks[i]);
            in.set(block + BLOCK_HEADER, Memory.getInt(block));
            while (in.available() > 0) {
                to.add(elements.deserialize(in));
                if (in.available() > 0) {
                    in.readByte();
                }
            }
        }
    }

    /** All blocks' elements, oldest first, delimited; returns how many. */
    private int join(int blockCount, OffHeapOutput to) {
        to.clear();
        int sum = 0;
        for (int i = blockCount - 1; i >= 0; i--) {
            sum += append(Record.valueAddress(blocks[i]), to);
        }
        return sum;
    }

    private static int append(long block, OffHeapOutput to) {
        int used = Memory.getInt(block);
        if (to.length() > 0 && used > 0) {
            to.write(DELIMITER);
        }
        long at = to.extend(used);
        Memory.copy(block + BLOCK_HEADER, at, used);
        return Memory.getInt(block + 4);
    }

    @Override
    public void add(E value) throws IOException {
        Preconditions.checkNotNull(value, "You cannot add null to a ListState.");
        out.clear();
        elements.serialize(value, out);
        composeKey();
        engine.appendToList(keys.keyGroup(), identity, keys.address(), keyLength, out.address(), out.length());
    }

    @Override
    public void addAll(List<E> values) throws IOException {
        Preconditions.checkNotNull(values, "List of values to add cannot be null.");
        for (E value : values) {
            Preconditions.checkNotNull(value, "You cannot add null to a ListState.");
        }
        for (E value : values) {
            add(value);
        }
    }

    @Override
    public void update(List<E> values) throws IOException {
        updateInternal(values);
    }

    @Override
    public void updateInternal(List<E> values) throws IOException {
        Preconditions.checkNotNull(values, "List of values to add cannot be null.");
        if (values.isEmpty()) {
            clear();
            return;
        }
        serialize(values);
        composeKey();
        engine.putList(keys.keyGroup(), identity, keys.address(), keyLength, out.address(), out.length(), values.size());
    }

    private void serialize(List<E> values) throws IOException {
        out.clear();
        boolean first = true;
        for (E value : values) {
            Preconditions.checkNotNull(value, "You cannot add null to a ListState.");
            if (!first) {
                out.write(DELIMITER);
            }
            first = false;
            elements.serialize(value, out);
        }
    }

    @Override
    public void mergeNamespaces(N target, Collection<N> sources) {
        if (sources == null || sources.isEmpty()) {
            return;
        }
        setCurrentNamespace(target);
        long head = locate();
        int before = head == 0 ? 0 : join(loadBlocks(head), out);
        if (head == 0) {
            out.clear();
        }
        int sum = before;
        for (N source : sources) {
            if (source != null) {
                setCurrentNamespace(source);
                sum += takeInto(out);
            }
        }
        setCurrentNamespace(target);
        if (sum > before) {
            composeKey();
            engine.putList(keys.keyGroup(), identity, keys.address(), keyLength, out.address(), out.length(), sum);
        }
    }

    /** Appends the current list to what is there and takes it out; returns the number of its elements. */
    private int takeInto(OffHeapOutput to) {
        long head = locate();
        if (head == 0) {
            return 0;
        }
        int count = loadBlocks(head);
        int sum = 0;
        for (int i = count - 1; i >= 0; i--) {
            sum += append(Record.valueAddress(blocks[i]), to);
        }
        clear();
        return sum;
    }

    @Override
    byte[] serializedValue(int keyGroup, RecordKey key, TypeSerializer<List<E>> safeValueSerializer) {
        long head = engine.find(keyGroup, identity, key.address(), key.length());
        if (head == 0) {
            return null;
        }
        join(loadBlocks(head), out);
        return out.toBytes();
    }

    @Override
    List<E> valueOf(int keyGroup, RecordKey key) throws IOException {
        long head = engine.find(keyGroup, identity, key.address(), key.length());
        if (head == 0) {
            return null;
        }
        List<E> list = new ArrayList<>();
        readElements(loadBlocks(head), list);
        return list;
    }

    @Override
    void setValueOf(int keyGroup, RecordKey key, List<E> values) throws IOException {
        if (values.isEmpty()) {
            removeValueOf(keyGroup, key);
            return;
        }
        serialize(values);
        engine.putList(keyGroup, identity, key.address(), key.length(), out.address(), out.length(), values.size());
    }

    @Override
    void migrate(int keyGroup, RecordKey key, ValueMigration<List<E>> migration) throws Exception {
        long head = engine.find(keyGroup, identity, key.address(), key.length());
        int count = loadBlocks(head);
        out.clear();
        int sum = 0;
        for (int i = count - 1; i >= 0; i--) {
            long block = Record.valueAddress(blocks[i]);
            in.set(block + BLOCK_HEADER, Memory.getInt(block));
            while (in.available() > 0) {
                if (sum > 0) {
                    out.write(DELIMITER);
                }
                migration.listElement(in, out);
                sum++;
                if (in.available() > 0) {
                    in.readByte();
                }
            }
        }
        engine.putList(keyGroup, identity, key.address(), key.length(), out.address(), out.length(), sum);
    }
}
