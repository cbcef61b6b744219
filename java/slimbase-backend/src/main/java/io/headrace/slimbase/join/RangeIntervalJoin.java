package io.headrace.slimbase.join;

import java.time.Duration;
import java.util.Objects;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.java.typeutils.TypeExtractor;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.KeyedStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.functions.co.ProcessJoinFunction;
import org.apache.flink.util.OutputTag;

/**
 * Flink's {@code left.intervalJoin(right)}, reading by range where the state backend offers it:
 *
 * <pre>{@code
 * RangeIntervalJoin.of(impressions, clicks)
 *         .between(Duration.ZERO, Duration.ofMinutes(20))
 *         .process(new Attribute());
 * }</pre>
 *
 * <p>Joins in event time those pairs whose right time minus left time lies between the bounds. State is that of Flink's operator: a job with a
 * uid on its join can change from one to the other, and back, by a savepoint.
 */
public final class RangeIntervalJoin<T1, T2, K> {
    private final KeyedStream<T1, K> left;
    private final KeyedStream<T2, K> right;

    private RangeIntervalJoin(KeyedStream<T1, K> left, KeyedStream<T2, K> right) {
        this.left = Objects.requireNonNull(left, "left");
        this.right = Objects.requireNonNull(right, "right");
    }

    /** A join of two streams with keys of the same type. */
    public static <T1, T2, K> RangeIntervalJoin<T1, T2, K> of(KeyedStream<T1, K> left, KeyedStream<T2, K> right) {
        return new RangeIntervalJoin<>(left, right);
    }

    /** Bounds of right time minus left time, both included, to the ms; they may be negative. */
    public Bounded<T1, T2, K> between(Duration lower, Duration upper) {
        return new Bounded<>(this, lower.toMillis(), upper.toMillis());
    }

    /** A join with its bounds. */
    public static final class Bounded<T1, T2, K> {
        private final RangeIntervalJoin<T1, T2, K> streams;
        private final long lowerMs;
        private final long upperMs;
        private boolean lowerInclusive = true;
        private boolean upperInclusive = true;
        private OutputTag<T1> leftLate;
        private OutputTag<T2> rightLate;

        private Bounded(RangeIntervalJoin<T1, T2, K> streams, long lowerMs, long upperMs) {
            this.streams = streams;
            this.lowerMs = lowerMs;
            this.upperMs = upperMs;
        }

        /** Leaves out pairs exactly at the lower bound. */
        public Bounded<T1, T2, K> lowerBoundExclusive() {
            lowerInclusive = false;
            return this;
        }

        /** Leaves out pairs exactly at the upper bound. */
        public Bounded<T1, T2, K> upperBoundExclusive() {
            upperInclusive = false;
            return this;
        }

        /** Where left rows behind the watermark go; without it they are dropped. */
        public Bounded<T1, T2, K> sideOutputLeftLateData(OutputTag<T1> tag) {
            leftLate = clean(tag);
            return this;
        }

        /** Where right rows behind the watermark go; without it they are dropped. */
        public Bounded<T1, T2, K> sideOutputRightLateData(OutputTag<T2> tag) {
            rightLate = clean(tag);
            return this;
        }

        /** Joins with a function whose result type Flink can tell. */
        public <R> SingleOutputStreamOperator<R> process(ProcessJoinFunction<T1, T2, R> function) {
            TypeInformation<R> type = TypeExtractor.getBinaryOperatorReturnType(
                    function,
                    ProcessJoinFunction.class,
                    0,
                    1,
                    2,
                    TypeExtractor.NO_INDEX,
                    streams.left.getType(),
                    streams.right.getType(),
                    "RangeIntervalJoin.process",
                    true);
            return process(function, type);
        }

        /**
         * Joins with a function and the type of its results.
         *
         * @throws IllegalArgumentException when the lower bound is above the upper one
         */
        public <R> SingleOutputStreamOperator<R> process(ProcessJoinFunction<T1, T2, R> function, TypeInformation<R> type) {
            if (lowerMs > upperMs) {
                throw new IllegalArgumentException(
                        "lower bound of the interval join is above its upper bound, lower_ms=" + lowerMs + ", upper_ms=" + upperMs);
            }
            RangeIntervalJoinOperator<K, T1, T2, R> operator = new RangeIntervalJoinOperator<>(
                    lowerMs,
                    upperMs,
                    lowerInclusive,
                    upperInclusive,
                    leftLate,
                    rightLate,
                    serializer(streams.left),
                    serializer(streams.right),
                    clean(function));
            return streams.left
                    .connect(streams.right)
                    .keyBy(streams.left.getKeySelector(), streams.right.getKeySelector())
                    .transform("Interval Join", type, operator);
        }

        private <X> X clean(X closure) {
            return streams.left.getExecutionEnvironment().clean(closure);
        }

        private static <T> TypeSerializer<T> serializer(DataStream<T> stream) {
            return stream.getType().createSerializer(stream.getExecutionConfig().getSerializerConfig());
        }
    }
}
