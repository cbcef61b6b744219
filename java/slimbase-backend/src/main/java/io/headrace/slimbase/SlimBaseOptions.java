package io.headrace.slimbase;

import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.MemorySize;

/** The options of SlimBase. It is meant to be used without any. */
public final class SlimBaseOptions {
    /** A fixed budget instead of the slot's managed memory. */
    public static final ConfigOption<MemorySize> FIXED_PER_SLOT =
            ConfigOptions.key("state.backend.slimbase.memory.fixed-per-slot")
                    .memoryType()
                    .noDefaultValue()
                    .withDescription(
                            "Memory that the operators of a slot may take together, from 16 MiB on, instead of the slot's share of managed memory. "
                                    + "It is not part of Flink's memory model: the process needs as much more. More memory keeps more state there; "
                                    + "what does not fit goes to files in `io.tmp.dirs`.");

    /** Whether the native library may be used. */
    public static final ConfigOption<NativeMode> NATIVE =
            ConfigOptions.key("state.backend.slimbase.native.enabled")
                    .enumType(NativeMode.class)
                    .defaultValue(NativeMode.AUTO)
                    .withDescription(
                            "AUTO uses the native library where the jar has one for the machine (huge pages and batched reads: up to 1.8 times as fast "
                                    + "on gigabytes of state), and pure Java else; OFF keeps to pure Java; ON fails where the library is missing.");

    /** Whether SQL interval joins may be made to read by range. */
    public static final ConfigOption<Boolean> INTERVAL_JOIN_RANGE_READ =
            ConfigOptions.key("state.backend.slimbase.interval-join.range-read")
                    .booleanType()
                    .defaultValue(true)
                    .withDescription(
                            "Lets SQL interval joins read only the times that a row can join with, not all rows of its key. Output and savepoints are the same "
                                    + "either way; it is read when a job is submitted. Switch it off if a join is suspected of being wrong because of it.");

    /** Leaves files in the checkpoint storage. */
    public static final ConfigOption<MemorySize> CHECKPOINT_FILES_CACHE =
            ConfigOptions.key("state.backend.slimbase.checkpoint-files.cache-size")
                    .memoryType()
                    .noDefaultValue()
                    .withDescription(
                            "For machines with little disk: files of state that a completed checkpoint has are not kept in `io.tmp.dirs` but read from the "
                                    + "checkpoint storage, by ranges of 256 KiB, of which so much disk is kept per operator (from 64 MiB on). What no checkpoint "
                                    + "has yet needs disk besides. Without it all files are on the machine. Far storage makes reads slower, so raise memory first.");

    private SlimBaseOptions() {}

    /** Answers of {@link #NATIVE}. */
    public enum NativeMode {
        AUTO,
        ON,
        OFF
    }
}
