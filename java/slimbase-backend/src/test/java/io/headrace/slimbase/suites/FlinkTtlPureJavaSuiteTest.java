package io.headrace.slimbase.suites;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;

/** The same without the native library. */
public class FlinkTtlPureJavaSuiteTest extends FlinkTtlSuiteTest {
    @Override
    NativeMode mode() {
        return NativeMode.OFF;
    }
}
