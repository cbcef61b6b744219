package io.headrace.connectors.common;

import java.util.Collection;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.connector.base.sink.writer.AsyncSinkWriter;
import org.apache.flink.connector.base.sink.writer.BufferedRequestState;
import org.apache.flink.connector.base.sink.writer.ElementConverter;
import org.apache.flink.connector.base.sink.writer.ResultHandler;
import org.apache.flink.table.data.RowData;

/**
 * A writer that has written everything when a checkpoint completes, and repeats what the store could not take.
 *
 * <p>Steps of a batch: the base class collects rows by count, bytes and time; {@link #send} writes them on one of the writer's
 * own threads, never on the task's, so that a hanging store cannot hang a cancellation; a {@link TransientFailure} is repeated
 * with a growing pause up to `sink.retries`, in place, so that the order of batches stays; any other failure fails the job.
 */
public abstract class FlushingWriter extends AsyncSinkWriter<RowData, Entry> {

    private final Batching batching;
    private final ExecutorService threads;
    private volatile boolean closed;

    /** See {@link AsyncSinkWriter}; `name` names the threads. */
    protected FlushingWriter(
            String name,
            ElementConverter<RowData, Entry> converter,
            WriterInitContext context,
            Batching batching,
            Collection<BufferedRequestState<Entry>> states) {
        super(converter, context, batching.toWriterConfiguration(), states);
        this.batching = batching;
        this.threads =
                Executors.newFixedThreadPool(
                        batching.inFlight,
                        work -> {
                            Thread thread = new Thread(work, name + "-sink");
                            thread.setDaemon(true);
                            return thread;
                        });
    }

    /**
     * Write a batch and return when the store has it.
     *
     * @throws TransientFailure it may succeed later
     * @throws Exception it will not; the job fails with this
     */
    protected abstract void send(List<Entry> batch) throws Exception;

    @Override
    protected final void submitRequestEntries(List<Entry> batch, ResultHandler<Entry> result) {
        // The base class goes on using the list it hands over.
        List<Entry> entries = List.copyOf(batch);
        CompletableFuture.runAsync(() -> sendWithRetries(entries, result), threads);
    }

    private void sendWithRetries(List<Entry> entries, ResultHandler<Entry> result) {
        for (int attempt = 0; ; attempt++) {
            try {
                send(entries);
                result.complete();
                return;
            } catch (TransientFailure failure) {
                if (closed || attempt >= batching.retries) {
                    result.completeExceptionally(failure.afterAttempts(attempt + 1));
                    return;
                }
                if (!pause(Batching.backoffMs(attempt + 1))) {
                    result.completeExceptionally(failure);
                    return;
                }
            } catch (Exception failure) {
                result.completeExceptionally(failure);
                return;
            }
        }
    }

    private boolean pause(long milliseconds) {
        try {
            TimeUnit.MILLISECONDS.sleep(milliseconds);
            return !closed;
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            return false;
        }
    }

    /** Everything that is buffered is written before a checkpoint, not stored in it: then a row is read as soon as it counts. */
    @Override
    public void flush(boolean endOfInput) throws InterruptedException {
        super.flush(true);
    }

    @Override
    protected long getSizeInBytes(Entry entry) {
        return entry.sizeInBytes();
    }

    @Override
    public void close() {
        closed = true;
        threads.shutdownNow();
        super.close();
    }
}
