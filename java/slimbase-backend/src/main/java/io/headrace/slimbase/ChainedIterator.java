package io.headrace.slimbase;

import java.util.Collections;
import java.util.Iterator;
import java.util.NoSuchElementException;

/** Goes through several collections one after the other; each is opened when the one before it is at its end. */
public final class ChainedIterator<T> implements Iterator<T> {
    private final Iterator<? extends Iterable<T>> parts;
    private Iterator<T> part = Collections.emptyIterator();
    private Iterator<T> ofLast = part;

    public ChainedIterator(Iterator<? extends Iterable<T>> parts) {
        this.parts = parts;
    }

    @Override
    public boolean hasNext() {
        while (!part.hasNext()) {
            if (!parts.hasNext()) {
                return false;
            }
            part = parts.next().iterator();
        }
        return true;
    }

    @Override
    public T next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        ofLast = part;
        return part.next();
    }

    /** Removes what {@link #next} returned last, though its collection may have been left since. */
    @Override
    public void remove() {
        ofLast.remove();
    }
}
