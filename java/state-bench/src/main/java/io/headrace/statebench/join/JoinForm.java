package io.headrace.statebench.join;

import java.io.Serializable;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.streaming.api.operators.TwoInputStreamOperator;

/** What a kind of interval join needs to be measured: its rows `R` with one key `K`, and its operator with results `T`. */
interface JoinForm<R, K, T> extends Serializable {
    /** The key of all rows. */
    long KEY = 7;
    String PAYLOAD = "x".repeat(100);

    R row(long number, long timeMs);

    TypeInformation<R> rowType();

    KeySelector<R, K> byKey();

    TypeInformation<K> keyType();

    TypeInformation<T> resultType();

    /** The operator that joins a right row with the left ones of the `intervalMs` up to its time, whose end is included and whose begin is not. */
    TwoInputStreamOperator<R, R, T> operator(long intervalMs) throws Exception;

    /** What a pair is known by, the same in every fork. */
    static long pair(long left, long right) {
        return left * 1_000_003 + right + PAYLOAD.length();
    }
}
