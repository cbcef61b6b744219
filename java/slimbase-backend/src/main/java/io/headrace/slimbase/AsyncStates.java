package io.headrace.slimbase;

import io.headrace.slimbase.engine.SlimBaseException;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.ReduceFunction;
import org.apache.flink.api.common.state.v2.StateFuture;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.asyncprocessing.StateRequestHandler;
import org.apache.flink.runtime.asyncprocessing.StateRequestType;
import org.apache.flink.runtime.state.v2.AbstractAggregatingState;
import org.apache.flink.runtime.state.v2.AbstractListState;
import org.apache.flink.runtime.state.v2.AbstractMapState;
import org.apache.flink.runtime.state.v2.AbstractReducingState;
import org.apache.flink.runtime.state.v2.AbstractValueState;

/** The five kinds of state of the asynchronous API. */
final class AsyncStates {
    private AsyncStates() {}

    private static SlimBaseException unsupported(StateRequestType type, AbstractSlimState<?, ?, ?> state) {
        return new SlimBaseException(
                SlimBaseException.Kind.Internal, "state cannot execute the request, type=" + type + ", state=`" + state.info.name() + "`", null, null);
    }

    /** Value state. */
    static final class OfValue<K, N, V> extends AbstractValueState<K, N, V> implements AsyncSlimState<K, N> {
        private final SlimValueState<K, N, V> state;

        OfValue(StateRequestHandler handler, SlimValueState<K, N, V> state) {
            super(handler, state.getValueSerializer());
            this.state = state;
        }

        @Override
        public AbstractSlimState<K, N, ?> sync() {
            return state;
        }

        @Override
        @SuppressWarnings("unchecked")
        public Object execute(StateRequestType type, Object payload) throws Exception {
            switch (type) {
                case VALUE_GET:
                    return state.value();
                case VALUE_UPDATE:
                    state.update((V) payload);
                    return null;
                case CLEAR:
                    state.clear();
                    return null;
                default:
                    throw unsupported(type, state);
            }
        }
    }

    /** Reducing state; Flink's part reduces, here values are read and written. */
    static final class OfReducing<K, N, V> extends AbstractReducingState<K, N, V> implements AsyncSlimState<K, N> {
        private final SlimReducingState<K, N, V> state;

        OfReducing(StateRequestHandler handler, ReduceFunction<V> reduce, SlimReducingState<K, N, V> state) {
            super(handler, reduce, state.getValueSerializer());
            this.state = state;
        }

        @Override
        public AbstractSlimState<K, N, ?> sync() {
            return state;
        }

        @Override
        @SuppressWarnings("unchecked")
        public Object execute(StateRequestType type, Object payload) throws Exception {
            switch (type) {
                case REDUCING_GET:
                    return state.getInternal();
                case REDUCING_ADD:
                    state.updateInternal((V) payload);
                    return null;
                case CLEAR:
                    state.clear();
                    return null;
                default:
                    throw unsupported(type, state);
            }
        }
    }

    /** Aggregating state; Flink's part aggregates, here accumulators are read and written. */
    static final class OfAggregating<K, N, T, A, R> extends AbstractAggregatingState<K, N, T, A, R> implements AsyncSlimState<K, N> {
        private final SlimAggregatingState<K, N, T, A, R> state;

        OfAggregating(StateRequestHandler handler, AggregateFunction<T, A, R> aggregate, SlimAggregatingState<K, N, T, A, R> state) {
            super(handler, aggregate, state.getValueSerializer());
            this.state = state;
        }

        @Override
        public AbstractSlimState<K, N, ?> sync() {
            return state;
        }

        @Override
        @SuppressWarnings("unchecked")
        public Object execute(StateRequestType type, Object payload) throws Exception {
            switch (type) {
                case AGGREGATING_GET:
                    return state.getInternal();
                case AGGREGATING_ADD:
                    state.updateInternal((A) payload);
                    return null;
                case CLEAR:
                    state.clear();
                    return null;
                default:
                    throw unsupported(type, state);
            }
        }
    }

    /** List state. */
    static final class OfList<K, N, E> extends AbstractListState<K, N, E> implements AsyncSlimState<K, N> {
        private final SlimListState<K, N, E> state;

        OfList(StateRequestHandler handler, TypeSerializer<E> elements, SlimListState<K, N, E> state) {
            super(handler, elements);
            this.state = state;
        }

        @Override
        public AbstractSlimState<K, N, ?> sync() {
            return state;
        }

        @Override
        public StateFuture<Void> asyncMergeNamespaces(N target, Collection<N> sources) {
            return handleRequest(StateRequestType.CUSTOMIZED, Tuple2.of(target, sources));
        }

        @Override
        public void mergeNamespaces(N target, Collection<N> sources) {
            handleRequestSync(StateRequestType.CUSTOMIZED, Tuple2.of(target, sources));
        }

        @Override
        @SuppressWarnings("unchecked")
        public Object execute(StateRequestType type, Object payload) throws Exception {
            switch (type) {
                case LIST_GET:
                    List<E> list = state.getInternal();
                    return LoadedIterator.of(this, type, getStateRequestHandler(), list == null ? List.of() : list);
                case LIST_ADD:
                    state.add((E) payload);
                    return null;
                case LIST_UPDATE:
                    state.update((List<E>) payload);
                    return null;
                case LIST_ADD_ALL:
                    state.addAll((List<E>) payload);
                    return null;
                case CUSTOMIZED:
                    state.mergeNamespaces(((Tuple2<N, Collection<N>>) payload).f0, ((Tuple2<N, Collection<N>>) payload).f1);
                    return null;
                case CLEAR:
                    state.clear();
                    return null;
                default:
                    throw unsupported(type, state);
            }
        }
    }

    /** Map state. Its iterators load a part at a time. */
    static final class OfMap<K, N, UK, UV> extends AbstractMapState<K, N, UK, UV> implements AsyncSlimState<K, N> {
        private final SlimMapState<K, N, UK, UV> state;

        OfMap(StateRequestHandler handler, SlimMapState<K, N, UK, UV> state) {
            super(handler, state.userValueSerializer());
            this.state = state;
        }

        @Override
        public AbstractSlimState<K, N, ?> sync() {
            return state;
        }

        @Override
        @SuppressWarnings("unchecked")
        public Object execute(StateRequestType type, Object payload) throws Exception {
            switch (type) {
                case MAP_GET:
                    return state.get((UK) payload);
                case MAP_CONTAINS:
                    return state.contains((UK) payload);
                case MAP_PUT:
                    state.put(((Tuple2<UK, UV>) payload).f0, ((Tuple2<UK, UV>) payload).f1);
                    return null;
                case MAP_PUT_ALL:
                    state.putAll((Map<UK, UV>) payload);
                    return null;
                case MAP_REMOVE:
                    state.remove((UK) payload);
                    return null;
                case MAP_IS_EMPTY:
                    return state.isEmpty();
                case CLEAR:
                    state.clear();
                    return null;
                default:
                    return iterate(type, payload);
            }
        }

        private Object iterate(StateRequestType type, Object payload) {
            switch (type) {
                case MAP_ITER:
                    return LoadedIterator.start(this, type, getStateRequestHandler(), state.iterator());
                case MAP_ITER_KEY:
                    return LoadedIterator.start(this, type, getStateRequestHandler(), state.keys().iterator());
                case MAP_ITER_VALUE:
                    return LoadedIterator.start(this, type, getStateRequestHandler(), state.values().iterator());
                case ITERATOR_LOADING:
                    return ((LoadedIterator.Rest<?>) payload).next(this, getStateRequestHandler());
                default:
                    throw unsupported(type, state);
            }
        }
    }
}
