package io.headrace.slimbase;

import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.runtime.state.StateBackendFactory;

/** What {@code state.backend.type} names: {@code io.headrace.slimbase.SlimBaseStateBackendFactory}. */
public final class SlimBaseStateBackendFactory implements StateBackendFactory<SlimBaseStateBackend> {
    @Override
    public SlimBaseStateBackend createFromConfig(ReadableConfig config, ClassLoader classLoader) {
        return new SlimBaseStateBackend().configure(config, classLoader);
    }
}
