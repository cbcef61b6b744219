package io.headrace.slimbase.join;

import java.lang.reflect.Field;
import org.apache.flink.api.common.functions.RichFunction;
import org.apache.flink.runtime.util.EnvironmentInformation;
import org.apache.flink.streaming.api.operators.AbstractUdfStreamOperator;
import org.apache.flink.table.runtime.operators.join.interval.RowTimeIntervalJoin;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The private fields of Flink's SQL interval join that the range read needs. All of them are looked up once; where one is missing, or Flink has
 * another version than the one whose code was read, {@link #areKnown} is false and joins stay as they are.
 */
final class SqlJoinFields {
    /** The version whose TimeIntervalJoin was read: what it walks, when, and what it removes on the way. */
    private static final String FLINK_VERSION = "2.3.";

    private static final Logger LOG = LoggerFactory.getLogger(SqlJoinFields.class);
    private static final SqlJoinFields KNOWN = find();

    /** Of both kinds of joins. */
    final OfInput left;

    final OfInput right;
    /** Of joins in event time. */
    final Field leftTimeIndex;

    final Field rightTimeIndex;
    /** Of operators with a function. */
    final Field function;
    /** Of the map state that functions get. */
    final Field stateBehind;

    /** Fields that a join has once for each input. */
    static final class OfInput {
        /** MapState of rows by time. */
        final Field cache;
        /** How far before another row's time, in ms, this input's rows join with it. */
        final Field relativeSize;
        /** Time up to which this input's rows are of no use any more; set just before a walk. */
        final Field expirationTime;
        /** Time of this input as of the last call. */
        final Field operatorTime;

        private OfInput(Class<?> join, String input) throws NoSuchFieldException {
            cache = field(join, input + "Cache");
            relativeSize = field(join, input + "RelativeSize");
            expirationTime = field(join, input + "ExpirationTime");
            operatorTime = field(join, input + "OperatorTime");
        }
    }

    private SqlJoinFields() throws ReflectiveOperationException {
        Class<?> join = RowTimeIntervalJoin.class.getSuperclass();
        left = new OfInput(join, "left");
        right = new OfInput(join, "right");
        leftTimeIndex = field(RowTimeIntervalJoin.class, "leftTimeIdx");
        rightTimeIndex = field(RowTimeIntervalJoin.class, "rightTimeIdx");
        function = field(AbstractUdfStreamOperator.class, "userFunction");
        stateBehind = field(
                Class.forName("org.apache.flink.runtime.state.UserFacingMapState", false, RichFunction.class.getClassLoader()), "originalState");
    }

    private static Field field(Class<?> owner, String name) throws NoSuchFieldException {
        Field field = owner.getDeclaredField(name);
        field.setAccessible(true);
        return field;
    }

    private static SqlJoinFields find() {
        String version = EnvironmentInformation.getVersion();
        if (!version.startsWith(FLINK_VERSION)) {
            LOG.warn("SQL interval joins stay as they are: flink has version {}, known is {}x", version, FLINK_VERSION);
            return null;
        }
        try {
            return new SqlJoinFields();
        } catch (ReflectiveOperationException | RuntimeException e) {
            LOG.warn("SQL interval joins stay as they are: flink's join is another one", e);
            return null;
        }
    }

    /** Whether this Flink's join is the one whose code was read. */
    static boolean areKnown() {
        return KNOWN != null;
    }

    /** The fields; only where they are known. */
    static SqlJoinFields get() {
        return KNOWN;
    }

    /** A field of type long. */
    static long longOf(Field field, Object owner) {
        try {
            return field.getLong(owner);
        } catch (IllegalAccessException e) {
            throw new IllegalStateException("field cannot be read, field=`" + field + "`", e);
        }
    }
}
