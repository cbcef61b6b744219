package io.headrace.slimbase.suites;

import io.headrace.slimbase.SlimBaseOptions;
import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.SlimBaseStateBackend;
import org.apache.flink.configuration.Configuration;

/** The backends that Flink's suites run on. */
final class SuiteBackends {
    private SuiteBackends() {}

    /** With the native library where it was built, or in pure Java. */
    static SlimBaseStateBackend slimBase(NativeMode mode) {
        Configuration config = new Configuration();
        config.set(SlimBaseOptions.NATIVE, mode);
        return new SlimBaseStateBackend().configure(config, SuiteBackends.class.getClassLoader());
    }
}
