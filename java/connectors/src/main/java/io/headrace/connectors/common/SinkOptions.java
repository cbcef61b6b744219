package io.headrace.connectors.common;

import java.time.Duration;
import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.factories.FactoryUtil;

/** Options that all sinks of this module share: how rows are batched, how much is in flight, how long is retried. */
public final class SinkOptions {

    /** Longest time that a row waits in a batch that is not full. */
    public static final ConfigOption<Duration> FLUSH_INTERVAL =
            ConfigOptions.key("sink.flush-interval")
                    .durationType()
                    .defaultValue(Duration.ofMillis(200))
                    .withDescription(
                            "Longest wait of a row in a batch. Shorter shows rows earlier and makes more, smaller writes.");

    /** Rows in a batch, at most. */
    public static final ConfigOption<Integer> FLUSH_ROWS =
            ConfigOptions.key("sink.flush-rows")
                    .intType()
                    .defaultValue(2000)
                    .withDescription("Largest batch in rows. Larger costs less per row and more memory and latency.");

    /** Bytes in a batch, at most. */
    public static final ConfigOption<MemorySize> FLUSH_BYTES =
            ConfigOptions.key("sink.flush-bytes")
                    .memoryType()
                    .defaultValue(MemorySize.ofMebiBytes(4))
                    .withDescription("Largest batch in bytes; also the largest single row.");

    /** Rows that wait for a batch, at most. */
    public static final ConfigOption<Integer> BUFFER_ROWS =
            ConfigOptions.key("sink.buffer-rows")
                    .intType()
                    .defaultValue(10_000)
                    .withDescription("Rows that may wait; when full, the job feels back-pressure. More than flush-rows.");

    /** Batches under way at once, per subtask. */
    public static final ConfigOption<Integer> IN_FLIGHT =
            ConfigOptions.key("sink.in-flight")
                    .intType()
                    .defaultValue(1)
                    .withDescription(
                            "Batches under way at once per subtask. With more than 1, batches may arrive out of order: "
                                    + "then rows need a version column, or an older row may win.");

    /** Attempts after the first before the job fails. */
    public static final ConfigOption<Integer> RETRIES =
            ConfigOptions.key("sink.retries")
                    .intType()
                    .defaultValue(20)
                    .withDescription(
                            "Attempts after the first, with a pause of 0.1 s doubling up to 5 s, before the job fails "
                                    + "(20: about 85 s). Errors of the rows or of the schema are not tried again.");

    /** How long one attempt may take. */
    public static final ConfigOption<Duration> REQUEST_TIMEOUT =
            ConfigOptions.key("sink.request-timeout")
                    .durationType()
                    .defaultValue(Duration.ofSeconds(30))
                    .withDescription("How long the store may take to answer one batch before it is sent again.");

    private SinkOptions() {}

    /** All of them, and Flink's own `sink.parallelism`. */
    public static Set<ConfigOption<?>> all() {
        return Set.of(
                FLUSH_INTERVAL,
                FLUSH_ROWS,
                FLUSH_BYTES,
                BUFFER_ROWS,
                IN_FLIGHT,
                RETRIES,
                REQUEST_TIMEOUT,
                FactoryUtil.SINK_PARALLELISM);
    }

    /**
     * Check what Flink's types cannot express.
     *
     * @throws ValidationException naming the option, its value and what to write instead
     */
    public static void validate(ReadableConfig options) {
        atLeast(options, FLUSH_ROWS, 1);
        atLeast(options, IN_FLIGHT, 1);
        atLeast(options, RETRIES, 0);
        if (options.get(FLUSH_INTERVAL).toMillis() < 1) {
            throw invalid(FLUSH_INTERVAL.key(), options.get(FLUSH_INTERVAL), "at least 1 ms");
        }
        if (options.get(BUFFER_ROWS) <= options.get(FLUSH_ROWS)) {
            // The base class wants room for more than one batch.
            if (options.getOptional(BUFFER_ROWS).isPresent()) {
                throw invalid(BUFFER_ROWS.key(), options.get(BUFFER_ROWS), "more than sink.flush-rows");
            }
        }
    }

    /**
     * An error about an option, with what to do about it.
     *
     * @param key the option
     * @param value what was given
     * @param wanted what it has to be
     */
    public static ValidationException invalid(String key, Object value, String wanted) {
        return new ValidationException("bad option, " + key + "=`" + value + "`\nhint: it has to be " + wanted);
    }

    private static void atLeast(ReadableConfig options, ConfigOption<Integer> option, int least) {
        if (options.get(option) < least) {
            throw invalid(option.key(), options.get(option), "at least " + least);
        }
    }
}
