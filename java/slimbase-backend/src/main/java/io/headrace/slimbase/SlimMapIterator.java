package io.headrace.slimbase;

import io.headrace.slimbase.layout.MapRun;
import java.io.IOException;
import java.util.Iterator;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Objects;
import java.util.function.Function;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.util.FlinkRuntimeException;

/**
 * Goes through a map of the key that was current when it was made. Entries are copied run by run (a small map whole, a large one page by
 * page), and the next run is looked up by the last user key, so that the map may be changed meanwhile, by the iterator or by the state.
 * Keys and values are deserialized when they are asked for.
 */
final class SlimMapIterator<K, N, UK, UV, T> implements Iterator<T> {
    private final SlimMapState<K, N, UK, UV> state;
    private final int keyGroup;
    private final byte[] key;
    private final byte[] to;
    private final Function<Map.Entry<UK, UV>, T> view;
    private final MapRun run = new MapRun();
    private final DataInputDeserializer input = new DataInputDeserializer();
    private Entry current;
    private boolean atEnd;

    /** `from` (inclusive) and `to` (exclusive) are serialized user keys, or null. */
    SlimMapIterator(
            SlimMapState<K, N, UK, UV> state, int keyGroup, byte[] key, byte[] from, byte[] to, Function<Map.Entry<UK, UV>, T> view) {
        this.state = state;
        this.keyGroup = keyGroup;
        this.key = key;
        this.to = to;
        this.view = view;
        load(from, 0, from == null ? 0 : from.length, true);
    }

    private void load(byte[] userKey, int offset, int length, boolean inclusive) {
        atEnd = !state.load(keyGroup, key, userKey, offset, length, inclusive, run);
        checkBound();
    }

    /** Ends the walk when the next entry is not below the bound. */
    private void checkBound() {
        if (!atEnd && to != null && run.hasNext() && run.compareNextKey(to) >= 0) {
            atEnd = true;
        }
    }

    @Override
    public boolean hasNext() {
        if (atEnd) {
            return false;
        }
        if (!run.hasNext()) {
            if (run.isLast()) {
                atEnd = true;
                return false;
            }
            load(run.bytes(), run.keyOffset(), run.keyLength(), false);
        }
        return !atEnd;
    }

    @Override
    public T next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        run.advance();
        current = new Entry(run);
        checkBound();
        return view.apply(current);
    }

    @Override
    public void remove() {
        if (current == null || current.removed) {
            throw new IllegalStateException("remove needs a next before it, and only one");
        }
        current.remove();
    }

    /** An entry over the copied bytes; writes through to the state. */
    private final class Entry implements Map.Entry<UK, UV> {
        private final byte[] bytes;
        private final int keyOffset;
        private final int keyLength;
        private final int valueOffset;
        private final int valueLength;
        private UK userKey;
        private UV value;
        private boolean valueRead;
        private boolean removed;

        private Entry(MapRun at) {
            this.bytes = at.bytes();
            this.keyOffset = at.keyOffset();
            this.keyLength = at.keyLength();
            this.valueOffset = at.valueOffset();
            this.valueLength = at.valueLength();
        }

        private void remove() {
            state.removeOf(keyGroup, key, bytes, keyOffset, keyLength);
            removed = true;
        }

        @Override
        public UK getKey() {
            if (userKey == null) {
                try {
                    input.setBuffer(bytes, keyOffset, keyLength);
                    userKey = state.userKeySerializer().deserialize(input);
                } catch (IOException e) {
                    throw new FlinkRuntimeException("user key of a map cannot be read", e);
                }
            }
            return userKey;
        }

        @Override
        public UV getValue() {
            if (removed) {
                return null;
            }
            if (!valueRead) {
                try {
                    input.setBuffer(bytes, valueOffset, valueLength);
                    value = input.readBoolean() ? null : state.userValueSerializer().deserialize(input);
                } catch (IOException e) {
                    throw new FlinkRuntimeException("value of a map cannot be read", e);
                }
                valueRead = true;
            }
            return value;
        }

        @Override
        public UV setValue(UV newValue) {
            if (removed) {
                throw new IllegalStateException("entry was removed before setValue");
            }
            UV before = getValue();
            try {
                state.putOf(keyGroup, key, getKey(), newValue);
            } catch (IOException e) {
                throw new FlinkRuntimeException("value of a map cannot be written", e);
            }
            value = newValue;
            return before;
        }

        @Override
        public boolean equals(Object other) {
            if (!(other instanceof Map.Entry)) {
                return false;
            }
            Map.Entry<?, ?> that = (Map.Entry<?, ?>) other;
            return Objects.equals(getKey(), that.getKey()) && Objects.equals(getValue(), that.getValue());
        }

        @Override
        public int hashCode() {
            return Objects.hashCode(getKey()) ^ Objects.hashCode(getValue());
        }

        @Override
        public String toString() {
            return getKey() + "=" + getValue();
        }
    }
}
