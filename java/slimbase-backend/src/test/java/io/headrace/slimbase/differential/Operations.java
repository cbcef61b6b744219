package io.headrace.slimbase.differential;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.internal.InternalMergingState;
import org.apache.flink.streaming.api.operators.TimerHeapInternalTimer;

/** Random operations on all kinds of state. A drawn operation is fixed, so that all subjects do the same. */
final class Operations<K> {
    private static final List<String> NAMESPACES = List.of("", "a", "ab", "window-2026-01-01T00:00", "b");
    private static final int USER_KEYS = 700;
    private static final int CLEAR_ONE_IN = 25;

    private final Random random;
    private long timers;
    private String drawn = "";

    Operations(Random random) {
        this.random = random;
    }

    /** Draws the next operation. */
    Operation<K> draw(K key) {
        int variant = random.nextInt(States.VARIANTS);
        String namespace = NAMESPACES.get(random.nextInt(NAMESPACES.size()));
        int kind = random.nextInt(9);
        drawn = "kind " + kind + ", variant " + variant + ", namespace `" + namespace + "`";
        switch (kind) {
            case 0:
                return longs(variant, namespace);
            case 1:
                return strings(variant, namespace);
            case 2:
                return lists(variant, namespace);
            case 3:
            case 4:
                return maps(variant, namespace);
            case 5:
                return stringMaps(variant, namespace);
            case 6:
                return reducing(variant, namespace);
            case 7:
                return aggregating(variant, namespace);
            default:
                return random.nextInt(3) == 0 ? timers(key) : merge(namespace);
        }
    }

    /** What was drawn last, for messages. */
    String drawn() {
        return drawn;
    }

    private String text(int most) {
        char[] chars = new char[random.nextInt(8) == 0 ? random.nextInt(most * 8) : random.nextInt(most)];
        for (int i = 0; i < chars.length; i++) {
            chars[i] = (char) ('a' + random.nextInt(26));
        }
        return new String(chars);
    }

    private boolean clears() {
        return random.nextInt(CLEAR_ONE_IN) == 0;
    }

    private Operation<K> clear(StateDescriptor<?, ?> descriptor, int variant, String namespace) {
        return at -> {
            States.get(at.backend, descriptor, variant, namespace).clear();
            return null;
        };
    }

    private Operation<K> longs(int variant, String namespace) {
        if (clears()) {
            return clear(States.longs(variant), variant, namespace);
        }
        long add = random.nextInt(1000);
        boolean blind = random.nextInt(4) == 0;
        boolean toNull = random.nextInt(40) == 0;
        return at -> {
            var state = States.get(at.backend, States.longs(variant), variant, namespace);
            Long before = blind ? null : state.value();
            state.update(toNull ? null : Long.valueOf(before == null ? add : before + add));
            return Arrays.asList(before, state.value());
        };
    }

    private Operation<K> strings(int variant, String namespace) {
        if (clears()) {
            return clear(States.strings(variant), variant, namespace);
        }
        String value = text(40);
        boolean reads = random.nextInt(3) == 0;
        return at -> {
            var state = States.get(at.backend, States.strings(variant), variant, namespace);
            if (reads) {
                return state.value();
            }
            state.update(value);
            return null;
        };
    }

    private Operation<K> lists(int variant, String namespace) {
        if (clears()) {
            return clear(States.lists(variant), variant, namespace);
        }
        int what = random.nextInt(10);
        List<String> values = new ArrayList<>();
        for (int i = random.nextInt(5); i >= 0; i--) {
            values.add(text(20));
        }
        return at -> {
            ListState<String> state = States.get(at.backend, States.lists(variant), variant, namespace);
            if (what == 0) {
                state.update(values);
            } else if (what <= 2) {
                state.addAll(values);
            } else if (what <= 6) {
                state.add(values.get(0));
            } else {
                return copy(state.get());
            }
            return null;
        };
    }

    private static <T> List<T> copy(Iterable<T> elements) {
        List<T> list = new ArrayList<>();
        if (elements != null) {
            elements.forEach(list::add);
        }
        return list;
    }

    private Operation<K> maps(int variant, String namespace) {
        if (random.nextInt(CLEAR_ONE_IN * 8) == 0) {
            return clear(States.maps(variant), variant, namespace);
        }
        long userKey = random.nextInt(USER_KEYS);
        boolean nulls = variant != States.EXPIRING && random.nextInt(20) == 0;
        return onMap(States.maps(variant), variant, namespace, userKey, nulls ? null : text(30), random.nextLong());
    }

    private Operation<K> stringMaps(int variant, String namespace) {
        if (random.nextInt(CLEAR_ONE_IN * 4) == 0) {
            return clear(States.stringMaps(variant), variant, namespace);
        }
        String userKey = "key" + random.nextInt(USER_KEYS / 4);
        return onMap(States.stringMaps(variant), variant, namespace, userKey, random.nextLong(), random.nextLong());
    }

    private <UK, UV> Operation<K> onMap(
            StateDescriptor<MapState<UK, UV>, ?> descriptor, int variant, String namespace, UK userKey, UV value, long seed) {
        int what = random.nextInt(100);
        drawn += ", map operation " + what + ", user key " + userKey;
        return at -> {
            MapState<UK, UV> state = States.get(at.backend, descriptor, variant, namespace);
            if (what < 55) {
                state.put(userKey, value);
                return null;
            } else if (what < 65) {
                state.remove(userKey);
                return null;
            } else if (what < 85) {
                return Arrays.asList(state.get(userKey), state.contains(userKey));
            } else if (what < 88) {
                // Whether expired entries count depends on how far each backend has cleaned up.
                return variant == States.EXPIRING ? null : state.isEmpty();
            } else if (what < 90) {
                state.putAll(Map.of(userKey, value == null ? state.get(userKey) == null ? value(seed, value) : state.get(userKey) : value));
                return null;
            } else if (what < 96) {
                return contents(state);
            }
            return sweep(state, seed);
        };
    }

    @SuppressWarnings("unchecked")
    private static <UV> UV value(long seed, UV ignored) {
        return (UV) Long.toString(seed, 36);
    }

    private static <UK, UV> Object contents(MapState<UK, UV> state) throws Exception {
        Map<String, Object> all = new TreeMap<>();
        for (Map.Entry<UK, UV> entry : state.entries()) {
            all.put(String.valueOf(entry.getKey()), entry.getValue());
        }
        List<String> keys = new ArrayList<>();
        state.keys().forEach(key -> keys.add(String.valueOf(key)));
        keys.sort(null);
        List<String> values = new ArrayList<>();
        state.values().forEach(value -> values.add(String.valueOf(value)));
        values.sort(null);
        return List.of(all, keys, values);
    }

    /** Walks the map and removes or changes entries on the way; which ones depends on the user key only, as the order differs by backend. */
    private static <UK, UV> Object sweep(MapState<UK, UV> state, long seed) throws Exception {
        Map<String, Object> removed = new TreeMap<>();
        Iterator<Map.Entry<UK, UV>> walk = state.iterator();
        while (walk.hasNext()) {
            Map.Entry<UK, UV> entry = walk.next();
            long lot = (entry.getKey().hashCode() * 0x9E3779B97F4A7C15L ^ seed) >>> 60;
            if (lot < 5) {
                removed.put(String.valueOf(entry.getKey()), entry.getValue());
                walk.remove();
            }
        }
        return removed;
    }

    private Operation<K> reducing(int variant, String namespace) {
        if (clears()) {
            return clear(States.reducing(variant), variant, namespace);
        }
        long value = random.nextInt(100);
        return at -> {
            var state = States.get(at.backend, States.reducing(variant), variant, namespace);
            state.add(value);
            return state.get();
        };
    }

    private Operation<K> aggregating(int variant, String namespace) {
        if (clears()) {
            return clear(States.aggregating(variant), variant, namespace);
        }
        long value = random.nextInt(100);
        return at -> {
            var state = States.get(at.backend, States.aggregating(variant), variant, namespace);
            state.add(value);
            return state.get();
        };
    }

    private Operation<K> merge(String target) {
        int kind = random.nextInt(3);
        List<String> sources = new ArrayList<>(NAMESPACES);
        sources.remove(target);
        java.util.Collections.shuffle(sources, random);
        Collection<String> some = sources.subList(0, 1 + random.nextInt(sources.size()));
        return at -> {
            StateDescriptor<?, ?> descriptor =
                    kind == 0
                            ? States.lists(States.NAMESPACED)
                            : kind == 1 ? States.reducing(States.NAMESPACED) : States.aggregating(States.NAMESPACED);
            return merged(States.get(at.backend, descriptor, States.NAMESPACED, target), target, some);
        };
    }

    @SuppressWarnings("unchecked")
    private static Object merged(Object state, String target, Collection<String> sources) throws Exception {
        InternalMergingState<?, String, ?, ?, ?> merging = (InternalMergingState<?, String, ?, ?, ?>) state;
        merging.mergeNamespaces(target, sources);
        merging.setCurrentNamespace(target);
        Object value = merging.get();
        return value instanceof Iterable ? copy((Iterable<Object>) value) : value instanceof Long || value == null ? value : value.toString();
    }

    /** Timers have times of their own, so that their order is the same everywhere. */
    private Operation<K> timers(K key) {
        long time = ++timers + random.nextInt(500) * 1_000_000_000L;
        boolean polls = random.nextBoolean();
        return at -> {
            if (polls) {
                TimerHeapInternalTimer<K, VoidNamespace> first = at.timers.poll();
                return first == null ? null : List.of(first.getTimestamp(), first.getKey());
            }
            at.timers.add(new TimerHeapInternalTimer<>(time, key, VoidNamespace.INSTANCE));
            return null; // not the size, which rocksdb counts without its write batch: the script's end compares the timers themselves
        };
    }
}
