package io.headrace.slimbase;

import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.apache.flink.core.asyncprocessing.InternalAsyncFuture;
import org.apache.flink.runtime.asyncprocessing.AsyncRequestContainer;
import org.apache.flink.runtime.asyncprocessing.RecordContext;
import org.apache.flink.runtime.asyncprocessing.StateExecutor;
import org.apache.flink.runtime.asyncprocessing.StateRequest;
import org.apache.flink.runtime.asyncprocessing.StateRequestType;

/**
 * Executes batches of requests on the task thread: reads first and together ({@link BatchedReads}), then everything else one by one.
 * The order of one record's requests is kept, but for reads that come before its writes anyway. A future's callbacks may come back with the next batch.
 */
final class SlimStateExecutor<K> implements StateExecutor {
    private final SlimKeyedStateBackend<K> backend;
    private final BatchedReads<K> reads;

    SlimStateExecutor(SlimKeyedStateBackend<K> backend) {
        this.backend = backend;
        this.reads = new BatchedReads<>(backend);
        backend.closeWith(reads);
    }

    @Override
    public CompletableFuture<Void> executeBatchRequests(AsyncRequestContainer<StateRequest<?, ?, ?, ?>> container) {
        List<StateRequest<?, ?, ?, ?>> requests = ((RequestBatch) container).requests();
        BatchedReads.Answers answers = reads.read(requests);
        for (int i = 0; i < requests.size(); i++) {
            StateRequest<?, ?, ?, ?> request = requests.get(i);
            if (!answers.has(i)) {
                execute(request);
            }
        }
        answers.complete(requests);
        return CompletableFuture.completedFuture(null);
    }

    @Override
    public AsyncRequestContainer<StateRequest<?, ?, ?, ?>> createRequestContainer() {
        return new RequestBatch();
    }

    @Override
    public void executeRequestSync(StateRequest<?, ?, ?, ?> request) {
        execute(request);
    }

    @SuppressWarnings("unchecked")
    private void execute(StateRequest<?, ?, ?, ?> request) {
        InternalAsyncFuture<Object> future = (InternalAsyncFuture<Object>) request.getFuture();
        if (request.getRequestType() == StateRequestType.SYNC_POINT) {
            future.complete(null);
            return;
        }
        Object result;
        try {
            AsyncSlimState<K, Object> state = (AsyncSlimState<K, Object>) request.getState();
            setKey(request);
            state.sync().setCurrentNamespace(request.getNamespace());
            result = state.execute(request.getRequestType(), request.getPayload());
        } catch (Exception e) {
            // The job fails by the future, with the request that could not be executed.
            future.completeExceptionally(
                    "state request failed, type=" + request.getRequestType() + ", state=`" + request.getState() + "`", e);
            return;
        }
        future.complete(result);
    }

    @SuppressWarnings("unchecked")
    private void setKey(StateRequest<?, ?, ?, ?> request) {
        RecordContext<K> context = (RecordContext<K>) request.getRecordContext();
        backend.setCurrentKeyAndKeyGroup(context.getKey(), context.getKeyGroup());
    }

    @Override
    public boolean fullyLoaded() {
        return false;
    }

    @Override
    public void shutdown() {}
}
