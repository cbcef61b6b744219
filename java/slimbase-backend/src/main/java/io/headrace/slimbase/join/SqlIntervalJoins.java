package io.headrace.slimbase.join;

import io.headrace.slimbase.SlimBaseOptions;
import java.lang.reflect.Field;
import java.util.ArrayDeque;
import java.util.Collection;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.flink.api.common.JobExecutionResult;
import org.apache.flink.api.dag.Pipeline;
import org.apache.flink.api.dag.Transformation;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.JobStatusHook;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.co.KeyedCoProcessFunction;
import org.apache.flink.streaming.api.operators.AbstractUdfStreamOperator;
import org.apache.flink.streaming.api.operators.SimpleOperatorFactory;
import org.apache.flink.streaming.api.operators.StreamOperator;
import org.apache.flink.streaming.api.operators.co.KeyedCoProcessOperator;
import org.apache.flink.streaming.api.transformations.TwoInputTransformation;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.internal.TableEnvironmentImpl;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.delegation.Executor;
import org.apache.flink.table.runtime.operators.join.interval.ProcTimeIntervalJoin;
import org.apache.flink.table.runtime.operators.join.interval.RowTimeIntervalJoin;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Makes the interval joins that Flink's planner plans read by range: in the planned job, before it is submitted, each of their operators gets
 * {@link RangeSqlJoin} over its function. Plan, uids, names and serializers of the state stay Flink's.
 *
 * <p>Only for the Flink version whose join was read (a warning in the log else), and not with
 * {@code state.backend.slimbase.interval-join.range-read} off.
 */
public final class SqlIntervalJoins {
    private static final Logger LOG = LoggerFactory.getLogger(SqlIntervalJoins.class);

    private SqlIntervalJoins() {}

    /** For all jobs that are submitted through the environment from now on: INSERTs, statement sets, compiled plans, queries. */
    public static void install(TableEnvironment environment) {
        if (!SqlJoinFields.areKnown()) {
            return;
        }
        try {
            Field executor = TableEnvironmentImpl.class.getDeclaredField("execEnv");
            executor.setAccessible(true);
            Executor flinks = (Executor) executor.get(environment);
            if (!(flinks instanceof RangeReadingExecutor)) {
                executor.set(environment, new RangeReadingExecutor(flinks));
            }
        } catch (ReflectiveOperationException | RuntimeException e) {
            LOG.warn("SQL interval joins stay as they are: the table environment is another one, class={}", environment.getClass(), e);
        }
    }

    /**
     * For what is in the environment now: to be called before {@code execute()} when tables were turned into streams.
     *
     * @return how many joins read by range now that did not
     */
    public static int apply(StreamExecutionEnvironment environment) {
        boolean isOn = environment.getConfiguration().get(SlimBaseOptions.INTERVAL_JOIN_RANGE_READ);
        return isOn && SqlJoinFields.areKnown() ? apply(environment.getTransformations()) : 0;
    }

    /** How many joins of the transformations, and of what they read, read by range now that did not. */
    private static int apply(Collection<? extends Transformation<?>> sinks) {
        Set<Transformation<?>> seen = new HashSet<>(sinks);
        Deque<Transformation<?>> left = new ArrayDeque<>(seen);
        int joins = 0;
        while (!left.isEmpty()) {
            Transformation<?> transformation = left.pop();
            transformation.getInputs().stream().filter(seen::add).forEach(left::push);
            if (transformation instanceof TwoInputTransformation
                    && ((TwoInputTransformation<?, ?, ?>) transformation).getOperatorFactory() instanceof SimpleOperatorFactory) {
                StreamOperator<?> operator =
                        ((SimpleOperatorFactory<?>) ((TwoInputTransformation<?, ?, ?>) transformation).getOperatorFactory()).getOperator();
                joins += readByRange(operator) ? 1 : 0;
            }
        }
        LOG.info("SQL interval joins made to read by range, count={}", joins);
        return joins;
    }

    /** Gives the operator a function that reads by range; false when it is no interval join, or has one already. */
    @SuppressWarnings("unchecked")
    static boolean readByRange(StreamOperator<?> operator) {
        if (!(operator instanceof KeyedCoProcessOperator)) {
            return false;
        }
        Object function = ((AbstractUdfStreamOperator<?, ?>) operator).getUserFunction();
        if (!(function instanceof RowTimeIntervalJoin) && !(function instanceof ProcTimeIntervalJoin)) {
            return false;
        }
        try {
            SqlJoinFields.get()
                    .function
                    .set(operator, new RangeSqlJoin((KeyedCoProcessFunction<RowData, RowData, RowData, RowData>) function));
        } catch (IllegalAccessException e) {
            throw new IllegalStateException("function of the interval join cannot be set", e);
        }
        return true;
    }

    /** Flink's executor, which makes jobs of what was planned. */
    private static final class RangeReadingExecutor implements Executor {
        private final Executor flinks;

        private RangeReadingExecutor(Executor flinks) {
            this.flinks = flinks;
        }

        @Override
        public ReadableConfig getConfiguration() {
            return flinks.getConfiguration();
        }

        @Override
        public Pipeline createPipeline(List<Transformation<?>> transformations, ReadableConfig configuration, String jobName) {
            change(transformations, configuration);
            return flinks.createPipeline(transformations, configuration, jobName);
        }

        @Override
        public Pipeline createPipeline(
                List<Transformation<?>> transformations, ReadableConfig configuration, String jobName, List<JobStatusHook> hooks) {
            change(transformations, configuration);
            return flinks.createPipeline(transformations, configuration, jobName, hooks);
        }

        /** The job's own setting wins over that of the process. */
        private void change(List<Transformation<?>> transformations, ReadableConfig configuration) {
            if (configuration
                    .getOptional(SlimBaseOptions.INTERVAL_JOIN_RANGE_READ)
                    .orElseGet(() -> flinks.getConfiguration().get(SlimBaseOptions.INTERVAL_JOIN_RANGE_READ))) {
                apply(transformations);
            }
        }

        @Override
        public JobExecutionResult execute(Pipeline pipeline) throws Exception {
            return flinks.execute(pipeline);
        }

        @Override
        public JobClient executeAsync(Pipeline pipeline) throws Exception {
            return flinks.executeAsync(pipeline);
        }

        @Override
        public boolean isCheckpointingEnabled() {
            return flinks.isCheckpointingEnabled();
        }
    }
}
