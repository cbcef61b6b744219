package io.headrace.statebench.join;

import org.apache.flink.api.common.serialization.SerializerConfigImpl;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.streaming.api.functions.co.ProcessJoinFunction;
import org.apache.flink.streaming.api.operators.TwoInputStreamOperator;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/** The join of the DataStream API; rows are (key, number, payload). */
final class StreamJoin implements JoinForm<Tuple3<Long, Long, String>, Long, Long> {
    private static final long serialVersionUID = 1L;
    private static final TypeInformation<Tuple3<Long, Long, String>> ROW = Types.TUPLE(Types.LONG, Types.LONG, Types.STRING);
    private static final KeySelector<Tuple3<Long, Long, String>, Long> BY_KEY = row -> row.f0;

    private final String operatorClass;

    /** The class has the constructor of Flink's IntervalJoinOperator. */
    StreamJoin(String operatorClass) {
        this.operatorClass = operatorClass;
    }

    @Override
    public Tuple3<Long, Long, String> row(long number, long timeMs) {
        return Tuple3.of(KEY, number, PAYLOAD);
    }

    @Override
    public TypeInformation<Tuple3<Long, Long, String>> rowType() {
        return ROW;
    }

    @Override
    public KeySelector<Tuple3<Long, Long, String>, Long> byKey() {
        return BY_KEY;
    }

    @Override
    public TypeInformation<Long> keyType() {
        return Types.LONG;
    }

    @Override
    public TypeInformation<Long> resultType() {
        return Types.LONG;
    }

    @Override
    @SuppressWarnings("unchecked")
    public TwoInputStreamOperator<Tuple3<Long, Long, String>, Tuple3<Long, Long, String>, Long> operator(long intervalMs) throws Exception {
        TypeSerializer<?> serializer = ROW.createSerializer(new SerializerConfigImpl());
        // Left times lie in (right - interval, right], so right ones in [left, left + interval).
        return (TwoInputStreamOperator<Tuple3<Long, Long, String>, Tuple3<Long, Long, String>, Long>)
                Class.forName(operatorClass)
                        .getConstructor(
                                long.class,
                                long.class,
                                boolean.class,
                                boolean.class,
                                OutputTag.class,
                                OutputTag.class,
                                TypeSerializer.class,
                                TypeSerializer.class,
                                ProcessJoinFunction.class)
                        .newInstance(0L, intervalMs, true, false, null, null, serializer, serializer.duplicate(), new Ids());
    }

    /** Gives a number made of both rows' numbers. */
    private static final class Ids extends ProcessJoinFunction<Tuple3<Long, Long, String>, Tuple3<Long, Long, String>, Long> {
        private static final long serialVersionUID = 1L;

        @Override
        public void processElement(
                Tuple3<Long, Long, String> left, Tuple3<Long, Long, String> right, Context context, Collector<Long> out) {
            long pair = JoinForm.pair(left.f1, right.f1);
            Probes.joined(pair);
            out.collect(pair);
        }
    }
}
