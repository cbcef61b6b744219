package io.headrace.slimbase.join;

import io.headrace.slimbase.SlimBaseOptions.NativeMode;
import io.headrace.slimbase.suites.SuiteBackends;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.hashmap.HashMapStateBackend;
import org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackend;
import org.apache.flink.state.rocksdb.RocksDBOptions;

/** The backends that joins must give the same results on. */
enum Backends {
    SLIMBASE,
    SLIMBASE_PURE_JAVA,
    HASHMAP,
    ROCKSDB;

    /** A backend that reads by range. */
    boolean isOrdered() {
        return this == SLIMBASE || this == SLIMBASE_PURE_JAVA;
    }

    StateBackend make() {
        switch (this) {
            case SLIMBASE:
                return SuiteBackends.slimBase(NativeMode.AUTO, MemorySize.ofMebiBytes(64));
            case SLIMBASE_PURE_JAVA:
                return SuiteBackends.slimBase(NativeMode.OFF, MemorySize.ofMebiBytes(64));
            case HASHMAP:
                return new HashMapStateBackend();
            default:
                Configuration options = new Configuration();
                options.set(RocksDBOptions.FIX_PER_SLOT_MEMORY_SIZE, MemorySize.ofMebiBytes(64));
                return new EmbeddedRocksDBStateBackend().configure(options, Backends.class.getClassLoader());
        }
    }
}
