package io.headrace.slimbase;

import java.util.ArrayList;
import java.util.List;
import org.apache.flink.runtime.asyncprocessing.AsyncRequestContainer;
import org.apache.flink.runtime.asyncprocessing.StateRequest;

/** Requests that are executed together; their order among different keys is free. */
final class RequestBatch implements AsyncRequestContainer<StateRequest<?, ?, ?, ?>> {
    private final List<StateRequest<?, ?, ?, ?>> requests = new ArrayList<>();

    @Override
    public void offer(StateRequest<?, ?, ?, ?> request) {
        requests.add(request);
    }

    @Override
    public boolean isEmpty() {
        return requests.isEmpty();
    }

    List<StateRequest<?, ?, ?, ?>> requests() {
        return requests;
    }
}
