package io.headrace.slimbase.differential;

import java.time.Duration;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.state.AggregatingStateDescriptor;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ReducingStateDescriptor;
import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;

/** The states of the script, by number: each kind with and without namespaces, and with a time to live. */
final class States {
    static final long TTL_MS = 500;
    static final int VARIANTS = 3;
    /** 0: no namespace; 1: namespaces; 2: no namespace, time to live. */
    static final int NAMESPACED = 1;
    static final int EXPIRING = 2;

    private States() {}

    static <S extends State> S get(AbstractKeyedStateBackend<?> backend, StateDescriptor<S, ?> descriptor, int variant, String namespace)
            throws Exception {
        return variant == NAMESPACED
                ? backend.getPartitionedState(namespace, StringSerializer.INSTANCE, descriptor)
                : backend.getPartitionedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, descriptor);
    }

    private static <D extends StateDescriptor<?, ?>> D variant(D descriptor, int variant, boolean onRead) {
        if (variant == EXPIRING) {
            StateTtlConfig.Builder config =
                    StateTtlConfig.newBuilder(Duration.ofMillis(TTL_MS))
                            .setUpdateType(onRead ? StateTtlConfig.UpdateType.OnReadAndWrite : StateTtlConfig.UpdateType.OnCreateAndWrite)
                            .setStateVisibility(StateTtlConfig.StateVisibility.NeverReturnExpired)
                            .cleanupIncrementally(3, false);
            if (!(descriptor instanceof MapStateDescriptor)) {
                // For expired map entries rocksdb writes nulls, which hashmap's time to live cannot read.
                config.cleanupFullSnapshot();
            }
            descriptor.enableTimeToLive(config.build());
        }
        return descriptor;
    }

    static ValueStateDescriptor<Long> longs(int variant) {
        return variant(new ValueStateDescriptor<>("long" + variant, LongSerializer.INSTANCE), variant, false);
    }

    static ValueStateDescriptor<String> strings(int variant) {
        return variant(new ValueStateDescriptor<>("string" + variant, StringSerializer.INSTANCE), variant, true);
    }

    static ListStateDescriptor<String> lists(int variant) {
        return variant(new ListStateDescriptor<>("list" + variant, StringSerializer.INSTANCE), variant, false);
    }

    static MapStateDescriptor<Long, String> maps(int variant) {
        return variant(new MapStateDescriptor<>("map" + variant, LongSerializer.INSTANCE, StringSerializer.INSTANCE), variant, true);
    }

    static MapStateDescriptor<String, Long> stringMaps(int variant) {
        return variant(new MapStateDescriptor<>("stringMap" + variant, StringSerializer.INSTANCE, LongSerializer.INSTANCE), variant, false);
    }

    static ReducingStateDescriptor<Long> reducing(int variant) {
        return variant(new ReducingStateDescriptor<>("reducing" + variant, Long::sum, LongSerializer.INSTANCE), variant, false);
    }

    static AggregatingStateDescriptor<Long, String, String> aggregating(int variant) {
        return variant(new AggregatingStateDescriptor<>("aggregating" + variant, new Joining(), StringSerializer.INSTANCE), variant, false);
    }

    /**
     * Sum and count as text, so that the accumulator's length changes. It commutes, because hashmap and rocksdb merge namespaces in different
     * orders.
     */
    private static final class Joining implements AggregateFunction<Long, String, String> {
        private static final long serialVersionUID = 1L;

        @Override
        public String createAccumulator() {
            return "0:0";
        }

        @Override
        public String add(Long value, String accumulator) {
            return merge(accumulator, value * value * value + ":1");
        }

        @Override
        public String getResult(String accumulator) {
            return "[" + accumulator + "]";
        }

        @Override
        public String merge(String a, String b) {
            String[] left = a.split(":");
            String[] right = b.split(":");
            return (Long.parseLong(left[0]) + Long.parseLong(right[0])) + ":" + (Long.parseLong(left[1]) + Long.parseLong(right[1]));
        }
    }
}
