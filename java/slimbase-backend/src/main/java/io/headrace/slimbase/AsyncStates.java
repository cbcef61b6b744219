package io.headrace.slimbase;

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

    /** A record that is a value: the three kinds differ in what Flink's part does with it, which reduces and aggregates itself. */
    private interface OfWholeValue<K, N, V> extends AsyncSlimState<K, N> {
        @Override
        WholeValueState<K, N, V> sync();

        @Override
        @SuppressWarnings("unchecked")
        default Object execute(StateRequestType type, Object payload) throws Exception {
            switch (type) {
                case VALUE_GET:
                case REDUCING_GET:
                case AGGREGATING_GET:
                    return sync().decodeOrDefault(sync().locate());
                case VALUE_UPDATE:
                case REDUCING_ADD:
                case AGGREGATING_ADD:
                    sync().updateInternal((V) payload);
                    return null;
                default:
                    return executeCommon(type);
            }
        }

        @Override
        default Object answer(StateRequestType type, Object payload, long record) throws Exception {
            return sync().decodeOrDefault(record);
        }
    }

    /** Value state. */
    static final class OfValue<K, N, V> extends AbstractValueState<K, N, V> implements OfWholeValue<K, N, V> {
        private final SlimValueState<K, N, V> state;

        OfValue(StateRequestHandler handler, SlimValueState<K, N, V> state) {
            super(handler, state.getValueSerializer());
            this.state = state;
        }

        @Override
        public WholeValueState<K, N, V> sync() {
            return state;
        }
    }

    /** Reducing state. */
    static final class OfReducing<K, N, V> extends AbstractReducingState<K, N, V> implements OfWholeValue<K, N, V> {
        private final SlimReducingState<K, N, V> state;

        OfReducing(StateRequestHandler handler, ReduceFunction<V> reduce, SlimReducingState<K, N, V> state) {
            super(handler, reduce, state.getValueSerializer());
            this.state = state;
        }

        @Override
        public WholeValueState<K, N, V> sync() {
            return state;
        }
    }

    /** Aggregating state; what is stored is its accumulator. */
    static final class OfAggregating<K, N, T, A, R> extends AbstractAggregatingState<K, N, T, A, R> implements OfWholeValue<K, N, A> {
        private final SlimAggregatingState<K, N, T, A, R> state;

        OfAggregating(StateRequestHandler handler, AggregateFunction<T, A, R> aggregate, SlimAggregatingState<K, N, T, A, R> state) {
            super(handler, aggregate, state.getValueSerializer());
            this.state = state;
        }

        @Override
        public WholeValueState<K, N, A> sync() {
            return state;
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
                    return loaded(list == null ? List.of() : list);
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
                default:
                    return executeCommon(type);
            }
        }

        @Override
        public Object answer(StateRequestType type, Object payload, long record) throws Exception {
            List<E> list = state.readFrom(record);
            return list == null ? NOT_WHOLE : loaded(list);
        }

        private LoadedIterator<E> loaded(List<E> list) {
            return LoadedIterator.of(this, StateRequestType.LIST_GET, getStateRequestHandler(), list);
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
                case MAP_IS_EMPTY:
                    return state.isEmpty();
                case MAP_PUT:
                    state.put(((Tuple2<UK, UV>) payload).f0, ((Tuple2<UK, UV>) payload).f1);
                    return null;
                case MAP_PUT_ALL:
                    state.putAll((Map<UK, UV>) payload);
                    return null;
                case MAP_REMOVE:
                    state.remove((UK) payload);
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
                    return executeCommon(type);
            }
        }

        @Override
        @SuppressWarnings("unchecked")
        public Object answer(StateRequestType type, Object payload, long record) throws Exception {
            if (type == StateRequestType.MAP_IS_EMPTY) {
                return record == 0;
            }
            if (!SlimMapState.isWhole(record)) {
                return NOT_WHOLE;
            }
            return type == StateRequestType.MAP_GET ? state.getIn(record, (UK) payload) : (Object) state.containsIn(record, (UK) payload);
        }
    }
}
