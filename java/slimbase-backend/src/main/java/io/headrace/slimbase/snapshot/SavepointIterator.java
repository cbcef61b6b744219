package io.headrace.slimbase.snapshot;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.engine.SlimBaseException;
import io.headrace.slimbase.file.KeyGroupSort;
import io.headrace.slimbase.layout.MapFormat;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.List;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.CompositeKeySerializationUtils;
import org.apache.flink.runtime.state.KeyValueStateIterator;

/**
 * All pairs of a canonical savepoint, by key group, then by state (key/value states first, then queues). A map is handed out page by page, so what
 * waits is a page, a small map, or one key group's timers of one queue. One thread.
 */
final class SavepointIterator implements KeyValueStateIterator {
    private static final byte[] NOTHING = new byte[0];
    private static final int LIST_HEADER = 8;

    private final KeyGroupBatches batches;
    private final List<SlimSavepoint.State> states;
    private final TimerQueues timers;
    private final int prefixBytes;
    private final ArrayDeque<byte[][]> waiting = new ArrayDeque<>();
    private final DataOutputSerializer valueOut = new DataOutputSerializer(256);
    private long pageKey;
    private int pageKeyCapacity;

    private int keyGroup;
    /** Index in the list of descriptions; -1 before the first one of a key group. */
    private int state;

    private int record;
    private int recordEnd;
    /** The paged map that is being handed out, 0 when there is none. */
    private long map;

    private int nextPage;

    private byte[][] current;
    private int currentKeyGroup = -1;
    private int currentState = -1;
    private boolean newKeyGroup;
    private boolean newState;

    SavepointIterator(KeyGroupBatches batches, List<SlimSavepoint.State> states, TimerQueues timers, int numberOfKeyGroups)
            throws IOException {
        this.batches = batches;
        this.states = states;
        this.timers = timers;
        this.prefixBytes = CompositeKeySerializationUtils.computeRequiredBytesInKeyGroupPrefix(numberOfKeyGroups);
        this.keyGroup = batches.range().getStartKeyGroup() - 1;
        this.state = states.size() + timers.queues().size();
        next();
    }

    @Override
    public void next() throws IOException {
        while (waiting.isEmpty()) {
            if (!fill()) {
                current = null;
                return;
            }
        }
        current = waiting.poll();
        newKeyGroup = keyGroup != currentKeyGroup;
        newState = newKeyGroup || state != currentState;
        currentKeyGroup = keyGroup;
        currentState = state;
    }

    /** One step; false at the end of everything. */
    private boolean fill() throws IOException {
        if (map != 0) {
            fillPage();
        } else if (record < recordEnd) {
            fillRecord();
        } else if (state + 1 < states.size() + timers.queues().size()) {
            enterState(state + 1);
        } else if (keyGroup < batches.range().getEndKeyGroup()) {
            keyGroup++;
            batches.load(keyGroup);
            state = -1;
        } else {
            return false;
        }
        return true;
    }

    private void enterState(int next) throws IOException {
        state = next;
        if (state < states.size()) {
            int identity = states.get(state).info.identity();
            record = batches.firstOf(identity);
            recordEnd = batches.firstOf(identity + 1);
        } else {
            record = recordEnd = 0;
            fillTimers(timers.queues().get(state - states.size()));
        }
    }

    private void fillTimers(TimerQueues.Queue queue) throws IOException {
        if (queue.size == 0) {
            return;
        }
        DataOutputSerializer out = new DataOutputSerializer(64);
        for (byte[] element : queue.elements(keyGroup)) {
            out.clear();
            CompositeKeySerializationUtils.writeKeyGroup(keyGroup, prefixBytes, out);
            out.write(element);
            waiting.add(new byte[][] {out.getCopyOfBuffer(), NOTHING});
        }
    }

    private void fillRecord() throws IOException {
        int first = record++;
        while (record < recordEnd
                && Record.has(batches.record(record), Record.CHAINED)
                && KeyGroupSort.sameKey(batches.record(first), batches.record(record))) {
            record++;
        }
        if (Record.has(batches.record(first), Record.TOMBSTONE)) {
            first++;
        }
        if (first == record) {
            return;
        }
        SlimSavepoint.State target = states.get(state);
        long head = batches.record(record - 1);
        target.keys.begin(keyGroup, bytes(Record.keyAddress(head), Record.keyLength(head)));
        switch (target.info.kind()) {
            case LIST:
                addPair(target, joinList(first, record));
                break;
            case MAP:
                fillMap(target, head);
                break;
            default:
                addPair(target, bytes(Record.valueAddress(head), Record.valueLength(head)));
        }
    }

    private static byte[] bytes(long address, int length) {
        byte[] bytes = new byte[length];
        Memory.copyToArray(address, bytes, 0, length);
        return bytes;
    }

    private void addPair(SlimSavepoint.State target, byte[] value) {
        byte[] kept = target.transformer == null ? value : target.transformer.filterOrTransform(value);
        if (kept != null) {
            waiting.add(new byte[][] {target.keys.toBytes(), kept});
        }
    }

    private byte[] joinList(int first, int end) throws IOException {
        valueOut.clear();
        int elements = 0;
        for (int i = first; i < end; i++) {
            long block = Record.valueAddress(batches.record(i));
            int used = Memory.getInt(block);
            int count = Memory.getInt(block + 4);
            if (count > 0) {
                if (elements > 0) {
                    valueOut.writeByte(',');
                }
                valueOut.write(bytes(block + LIST_HEADER, used));
                elements += count;
            }
        }
        return valueOut.getCopyOfBuffer();
    }

    private void fillMap(SlimSavepoint.State target, long head) throws IOException {
        long root = Record.valueAddress(head);
        if (MapFormat.isPaged(root)) {
            map = head;
            nextPage = 0;
        } else {
            addEntries(target, root + MapFormat.ROOT_HEADER, MapFormat.count(root), 0);
        }
    }

    private void fillPage() throws IOException {
        long root = Record.valueAddress(map);
        SlimSavepoint.State target = states.get(state);
        int keyLength = Record.keyLength(map);
        int number = MapFormat.pageNumber(root, nextPage++);
        ensurePageKey(keyLength + Integer.BYTES);
        Memory.copy(Record.keyAddress(map), pageKey, keyLength);
        Memory.putInt(pageKey + keyLength, number);
        long page = batches.find(target.info.auxIdentity(), pageKey, keyLength + Integer.BYTES);
        if (page == 0) {
            throw new SlimBaseException(
                    SlimBaseException.Kind.Internal,
                    "page of a map is missing, state=`" + target.info.name() + "`, page=" + number + ", key_group=" + keyGroup,
                    "report this with the log",
                    null);
        }
        long value = Record.valueAddress(page);
        addEntries(target, value + MapFormat.PAGE_HEADER, MapFormat.count(value), nextPage == 1 ? root : 0);
        if (nextPage == MapFormat.pageCount(root)) {
            map = 0;
        }
    }

    private void ensurePageKey(int bytes) {
        if (pageKeyCapacity < bytes) {
            pageKeyCapacity = bytes * 2;
            pageKey = pageKey == 0 ? Memory.allocate(pageKeyCapacity + 8L) : Memory.reallocate(pageKey, pageKeyCapacity + 8L);
        }
    }

    /** Of a first page those that have not left it by its root; elsewhere the root is 0. */
    private void addEntries(SlimSavepoint.State target, long first, int count, long firstPageRoot) throws IOException {
        DataOutputSerializer key = target.keys.out();
        int mark = key.length();
        try {
            MapFormat.entries(
                    first,
                    count,
                    (userKey, userKeyLength, value, valueLength) -> {
                        if (firstPageRoot != 0 && MapFormat.isRemoved(firstPageRoot, userKey, userKeyLength)) {
                            return;
                        }
                        key.setPosition(mark);
                        key.write(bytes(userKey, userKeyLength));
                        addPair(target, bytes(value, valueLength));
                    });
        } catch (IOException | RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new IOException("entries of a map cannot be written, state=`" + target.info.name() + "`", e);
        }
        key.setPosition(mark);
    }

    @Override
    public int keyGroup() {
        return currentKeyGroup;
    }

    @Override
    public byte[] key() {
        return current[0];
    }

    @Override
    public byte[] value() {
        return current[1];
    }

    @Override
    public int kvStateId() {
        return currentState;
    }

    @Override
    public boolean isNewKeyValueState() {
        return newState;
    }

    @Override
    public boolean isNewKeyGroup() {
        return newKeyGroup;
    }

    @Override
    public boolean isValid() {
        return current != null;
    }

    @Override
    public void close() {
        batches.close();
        if (pageKey != 0) {
            Memory.free(pageKey);
            pageKey = 0;
        }
    }
}
