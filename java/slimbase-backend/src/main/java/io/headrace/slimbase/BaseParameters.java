package io.headrace.slimbase;

import org.apache.flink.api.common.ExecutionConfig;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.query.TaskKvStateRegistry;
import org.apache.flink.runtime.state.InternalKeyContext;
import org.apache.flink.runtime.state.metrics.LatencyTrackingStateConfig;
import org.apache.flink.runtime.state.metrics.SizeTrackingStateConfig;

/** What only Flink's base class of keyed backends wants to know. */
final class BaseParameters<K> {
    TaskKvStateRegistry kvStateRegistry;
    ExecutionConfig executionConfig;
    LatencyTrackingStateConfig latencyTracking;
    SizeTrackingStateConfig sizeTracking;
    CloseableRegistry cancelRegistry;
    InternalKeyContext<K> keyContext;
}
