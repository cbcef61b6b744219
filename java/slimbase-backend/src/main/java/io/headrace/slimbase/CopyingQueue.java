package io.headrace.slimbase;

import java.util.Collection;
import java.util.Set;
import javax.annotation.Nonnull;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.util.CloseableIterator;

/**
 * A queue on the heap that keeps copies of what is added.
 *
 * <p>The backend lets callers use their key objects again ({@code isSafeToReuseKVState}), and Flink's SQL window operators do; a timer holds its
 * key, so without a copy all timers of a flush would end up with the last key.
 */
final class CopyingQueue<T> implements KeyGroupedInternalPriorityQueue<T> {
    private final KeyGroupedInternalPriorityQueue<T> queue;
    private final TypeSerializer<T> serializer;

    CopyingQueue(KeyGroupedInternalPriorityQueue<T> queue, TypeSerializer<T> serializer) {
        this.queue = queue;
        this.serializer = serializer;
    }

    @Override
    public boolean add(@Nonnull T element) {
        return queue.add(serializer.copy(element));
    }

    @Override
    public void addAll(Collection<? extends T> elements) {
        if (elements != null) {
            elements.forEach(this::add);
        }
    }

    @Override
    public T poll() {
        return queue.poll();
    }

    @Override
    public T peek() {
        return queue.peek();
    }

    @Override
    public boolean remove(@Nonnull T element) {
        return queue.remove(element);
    }

    @Override
    public boolean isEmpty() {
        return queue.isEmpty();
    }

    @Override
    public int size() {
        return queue.size();
    }

    @Override
    @Nonnull
    public CloseableIterator<T> iterator() {
        return queue.iterator();
    }

    @Override
    @Nonnull
    public Set<T> getSubsetForKeyGroup(int keyGroup) {
        return queue.getSubsetForKeyGroup(keyGroup);
    }
}
