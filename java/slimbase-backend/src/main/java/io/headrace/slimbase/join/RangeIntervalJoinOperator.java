package io.headrace.slimbase.join;

import io.headrace.slimbase.OrderedMapState;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.function.Function;
import org.apache.flink.api.common.state.KeyedStateStore;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.streaming.api.functions.co.ProcessJoinFunction;
import org.apache.flink.streaming.api.operators.co.IntervalJoinOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.util.OutputTag;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Flink's interval join, reading of the other input's buffer only the times that a row can join with.
 *
 * <p>Flink's operator goes through all rows that it holds for a key and compares their times, for each row that comes. Here it gets buffers
 * whose walk is a range read, set to the row's bounds before each row. Everything else is Flink's code: bounds, late rows, side outputs, timers,
 * timestamps of results, names and serializers of the state. So savepoints fit both ways. On a backend without range reads the buffers are the
 * backend's own, and this is Flink's operator.
 *
 * <p>One thing differs from a full walk on backends without order: results of one row come in the order of the other rows' times.
 */
public class RangeIntervalJoinOperator<K, T1, T2, OUT> extends IntervalJoinOperator<K, T1, T2, OUT> {
    private static final long serialVersionUID = 1L;
    private static final Logger LOG = LoggerFactory.getLogger(RangeIntervalJoinOperator.class);
    /** Names of Flink's buffers (IntervalJoinOperator, private there). */
    private static final String LEFT_BUFFER = "LEFT_BUFFER";

    private static final String RIGHT_BUFFER = "RIGHT_BUFFER";

    private final long lowerBound;
    private final long upperBound;
    private transient RangeBuffer<?> left;
    private transient RangeBuffer<?> right;

    /** As Flink's: bounds in ms, right time minus left time; tags may be null. */
    public RangeIntervalJoinOperator(
            long lowerBound,
            long upperBound,
            boolean lowerBoundInclusive,
            boolean upperBoundInclusive,
            OutputTag<T1> leftLateDataOutputTag,
            OutputTag<T2> rightLateDataOutputTag,
            TypeSerializer<T1> leftTypeSerializer,
            TypeSerializer<T2> rightTypeSerializer,
            ProcessJoinFunction<T1, T2, OUT> udf) {
        super(
                lowerBound,
                upperBound,
                lowerBoundInclusive,
                upperBoundInclusive,
                leftLateDataOutputTag,
                rightLateDataOutputTag,
                leftTypeSerializer,
                rightTypeSerializer,
                udf);
        this.lowerBound = lowerBoundInclusive ? lowerBound : lowerBound + 1;
        this.upperBound = upperBoundInclusive ? upperBound : upperBound - 1;
    }

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        KeyedStateStore store = instead(KeyedStateStore.class, context.getKeyedStateStore(), "getMapState", this::buffer);
        super.initializeState(instead(StateInitializationContext.class, context, "getKeyedStateStore", argument -> store));
        LOG.info("interval join reads {}", readsRanges() ? "by range" : "all times of a key: the state backend has no range read");
    }

    /** Whether the state backend offers range reads, so that they are used. */
    public final boolean readsRanges() {
        return left != null && right != null;
    }

    @Override
    public void processElement1(StreamRecord<T1> record) throws Exception {
        if (right != null) {
            right.limit(record.getTimestamp() + lowerBound, record.getTimestamp() + upperBound);
        }
        super.processElement1(record);
    }

    @Override
    public void processElement2(StreamRecord<T2> record) throws Exception {
        if (left != null) {
            left.limit(record.getTimestamp() - upperBound, record.getTimestamp() - lowerBound);
        }
        super.processElement2(record);
    }

    /** The buffer that Flink's operator asks for; null for any other state. */
    private Object buffer(Object descriptor) {
        if (!(descriptor instanceof MapStateDescriptor)) {
            return null;
        }
        String name = ((MapStateDescriptor<?, ?>) descriptor).getName();
        if (name.equals(LEFT_BUFFER)) {
            left = rangeBuffer((MapStateDescriptor<?, ?>) descriptor);
            return left;
        }
        if (name.equals(RIGHT_BUFFER)) {
            right = rangeBuffer((MapStateDescriptor<?, ?>) descriptor);
            return right;
        }
        return null;
    }

    @SuppressWarnings("unchecked")
    private <V> RangeBuffer<V> rangeBuffer(MapStateDescriptor<?, ?> descriptor) {
        MapState<Long, V> state;
        try {
            state = getPartitionedState(
                    VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, (MapStateDescriptor<Long, V>) descriptor);
        } catch (Exception e) {
            throw new IllegalStateException("state of the interval join cannot be made, state=`" + descriptor.getName() + "`", e);
        }
        OrderedMapState<Long, V> ordered = ordered(state);
        return ordered == null ? null : new RangeBuffer<>(state, ordered);
    }

    /** The state's range reads; null when it has none. */
    @SuppressWarnings("unchecked")
    <V> OrderedMapState<Long, V> ordered(MapState<Long, V> state) {
        return state instanceof OrderedMapState ? (OrderedMapState<Long, V>) state : null;
    }

    /** The interface with one method answered by us where `answer` gives something for its first argument, all else by the object itself. */
    private static <T> T instead(Class<T> face, T object, String method, Function<Object, Object> answer) {
        return face.cast(
                Proxy.newProxyInstance(
                        RangeIntervalJoinOperator.class.getClassLoader(),
                        new Class<?>[] {face},
                        (proxy, called, arguments) -> {
                            Object ours = called.getName().equals(method) ? answer.apply(arguments == null ? null : arguments[0]) : null;
                            return ours != null ? ours : call(object, called, arguments);
                        }));
    }

    private static Object call(Object object, Method method, Object[] arguments) throws Throwable {
        try {
            return method.invoke(object, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }
}
