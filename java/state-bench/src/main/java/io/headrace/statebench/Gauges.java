package io.headrace.statebench;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.flink.metrics.Gauge;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;

/** A metric group that remembers gauges by name, whatever group they are in. */
public final class Gauges extends UnregisteredMetricsGroup {
    private final Map<String, Gauge<?>> gauges = new ConcurrentHashMap<>();

    @Override
    public MetricGroup addGroup(String name) {
        return this;
    }

    @Override
    public <T, G extends Gauge<T>> G gauge(String name, G gauge) {
        gauges.put(name, gauge);
        return gauge;
    }

    /** What the gauge says now; 0 when the backend has none of that name. */
    public long number(String name) {
        Gauge<?> gauge = gauges.get(name);
        return gauge == null ? 0 : ((Number) gauge.getValue()).longValue();
    }
}
