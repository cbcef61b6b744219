package io.headrace.slimbase;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Iterator;
import java.util.List;
import org.apache.flink.api.common.state.v2.State;
import org.apache.flink.runtime.asyncprocessing.AbstractStateIterator;
import org.apache.flink.runtime.asyncprocessing.StateRequestHandler;
import org.apache.flink.runtime.asyncprocessing.StateRequestType;

/** An iterator of the asynchronous API: some elements that are loaded, and how to get more. */
final class LoadedIterator<T> extends AbstractStateIterator<T> {
    /** Elements of one request, as many as RocksDB's iterators take. */
    private static final int PART = 128;

    private final Rest<T> rest;

    private LoadedIterator(State state, StateRequestType type, StateRequestHandler handler, Collection<T> loaded, Rest<T> rest) {
        super(state, type, handler, loaded);
        this.rest = rest;
    }

    /** All elements at once. */
    static <T> LoadedIterator<T> of(State state, StateRequestType type, StateRequestHandler handler, List<T> all) {
        return new LoadedIterator<>(state, type, handler, all, null);
    }

    /** The first elements of the walk. */
    static <T> LoadedIterator<T> start(State state, StateRequestType type, StateRequestHandler handler, Iterator<T> walk) {
        return new Rest<>(type, walk).next(state, handler);
    }

    @Override
    public boolean hasNextLoading() {
        return rest != null;
    }

    @Override
    protected Object nextPayloadForContinuousLoading() {
        return rest;
    }

    /** A walk that has been begun. */
    static final class Rest<T> {
        private final StateRequestType type;
        private final Iterator<T> walk;

        private Rest(StateRequestType type, Iterator<T> walk) {
            this.type = type;
            this.walk = walk;
        }

        LoadedIterator<T> next(State state, StateRequestHandler handler) {
            List<T> part = new ArrayList<>();
            while (part.size() < PART && walk.hasNext()) {
                part.add(walk.next());
            }
            return new LoadedIterator<>(state, type, handler, part, walk.hasNext() ? this : null);
        }
    }
}
