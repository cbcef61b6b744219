package io.headrace.warmup;

import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.core.LogEvent;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.config.LoggerConfig;
import org.apache.logging.log4j.core.filter.AbstractFilter;

/**
 * Keeps the warm-up's lines out of the process's log: what its job's threads say, and for these seconds what is less than a warning.
 *
 * <p>The cluster in the process has components of the same classes as the process itself, so nothing but the job's own threads and its
 * id tells them apart; warnings and errors of all others are let through.
 */
final class Quiet implements AutoCloseable {
    private static final String JOB_ID = "flink-job-id"; // Flink's key in the mapped diagnostic context

    private final LoggerConfig root;
    private final JobFilter filter;

    private Quiet(LoggerConfig root, JobFilter filter) {
        this.root = root;
        this.filter = filter;
    }

    /** Begin; with another logging library than Flink's own, or another context, nothing is kept out. */
    static AutoCloseable begin(String jobId) {
        try {
            LoggerConfig root = ((LoggerContext) LogManager.getContext(false)).getConfiguration().getRootLogger();
            JobFilter filter = new JobFilter(jobId);
            root.addFilter(filter);
            return new Quiet(root, filter);
        } catch (LinkageError | ClassCastException error) {
            return () -> {};
        }
    }

    @Override
    public void close() {
        root.removeFilter(filter);
    }

    /** Of the root logger, which all lines pass on their way to an appender. */
    private static final class JobFilter extends AbstractFilter {
        private final String jobId;

        JobFilter(String jobId) {
            this.jobId = jobId;
        }

        @Override
        public Result filter(LogEvent event) {
            if (event.getLoggerName() != null && event.getLoggerName().startsWith(WarmUp.class.getPackageName())) {
                return Result.NEUTRAL;
            }
            boolean ours =
                    event.getThreadName().contains(WarmUpJob.NAME)
                            || jobId.equals(event.getContextData().getValue(JOB_ID))
                            || event.getMessage().getFormattedMessage().contains(jobId)
                            || (event.getThrown() != null && event.getThrown().toString().contains(jobId));
            return ours || !event.getLevel().isMoreSpecificThan(Level.WARN) ? Result.DENY : Result.NEUTRAL;
        }
    }
}
