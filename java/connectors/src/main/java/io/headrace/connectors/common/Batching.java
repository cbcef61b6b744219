package io.headrace.connectors.common;

import java.io.Serializable;
import java.time.Duration;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.connector.base.sink.writer.config.AsyncSinkWriterConfiguration;

/** The values of {@link SinkOptions} in a form that travels with a sink. */
public final class Batching implements Serializable {

    private static final long serialVersionUID = 1L;
    private static final long BACKOFF_FIRST_MS = 100;
    private static final long BACKOFF_LAST_MS = 5_000;

    public final int rows;
    public final long bytes;
    public final int bufferRows;
    public final int inFlight;
    public final long intervalMs;
    public final int retries;
    public final Duration requestTimeout;

    /** Read the options. */
    public Batching(ReadableConfig options) {
        this.rows = options.get(SinkOptions.FLUSH_ROWS);
        this.bytes = options.get(SinkOptions.FLUSH_BYTES).getBytes();
        this.bufferRows = Math.max(options.get(SinkOptions.BUFFER_ROWS), 2 * rows);
        this.inFlight = options.get(SinkOptions.IN_FLIGHT);
        this.intervalMs = options.get(SinkOptions.FLUSH_INTERVAL).toMillis();
        this.retries = options.get(SinkOptions.RETRIES);
        this.requestTimeout = options.get(SinkOptions.REQUEST_TIMEOUT);
    }

    /** As Flink's asynchronous sink wants it. */
    public AsyncSinkWriterConfiguration toWriterConfiguration() {
        return AsyncSinkWriterConfiguration.builder()
                .setMaxBatchSize(rows)
                .setMaxBatchSizeInBytes(bytes)
                .setMaxInFlightRequests(inFlight)
                .setMaxBufferedRequests(bufferRows)
                .setMaxTimeInBufferMS(intervalMs)
                .setMaxRecordSizeInBytes(bytes)
                .build();
    }

    /**
     * The pause before an attempt.
     *
     * @param attempt 1 for the first repetition
     * @return milliseconds: 0.1 s doubling up to 5 s
     */
    public static long backoffMs(int attempt) {
        return Math.min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS << Math.min(attempt - 1, 10));
    }
}
