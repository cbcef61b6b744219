package io.headrace.statebench.micro;

import io.headrace.statebench.Arguments;
import io.headrace.statebench.Json;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/**
 * One fork of the micro harness: one backend, one case, one size. Prints one JSON object.
 *
 * <p>`--case long|row|map|list|async-long|async-map|async-list|suite-value|suite-list|suite-map|growth --records N --slices N --slice-ms N --warm-ms N
 * --distributions uniform,zipf --folder PATH --managed-bytes N --conf KEY=VALUE ...`. Steps: open, load in scrambled order, wait
 * for background work, check a sample, then time each operation. Memory per record is what the process grew by: live
 * heap, and what is resident outside of the heap (the heap is pre-touched, so its share of the resident size is fixed).
 */
public final class Micro {

    private static final long SEED = 42;
    private static final Map<String, Supplier<Case>> CASES = Map.ofEntries(
            Map.entry("long", LongCase::new),
            Map.entry("row", RowCase::new),
            Map.entry("map", MapCase::new),
            Map.entry("list", ListCase::new),
            Map.entry("async-long", AsyncCase.OfLong::new),
            Map.entry("async-map", AsyncCase.OfMap::new),
            Map.entry("async-list", AsyncCase.OfList::new),
            Map.entry("suite-value", SuiteValueCase::new),
            Map.entry("suite-list", SuiteListCase::new),
            Map.entry("suite-map", SuiteMapCase::new));

    private Micro() {}

    /** Measures as told and prints the result. */
    public static void main(String[] words) throws Exception {
        Arguments arguments = new Arguments(words);
        boolean growth = arguments.required("case").equals("growth");
        System.out.println(Json.render(growth ? grow(arguments) : measure(arguments)));
        System.out.flush();
        // Backends leave non-daemon threads behind.
        System.exit(0);
    }

    private static Map<String, Object> grow(Arguments arguments) throws Exception {
        try (LongCase state = new LongCase()) {
            state.open(arguments);
            return new GrowthPauses().measure(state, arguments.number("records", 1));
        }
    }

    private static Map<String, Object> measure(Arguments arguments) throws Exception {
        long n = arguments.number("records", 500_000);
        Meter meter = new Meter(
                arguments.number("slice-ms", 400),
                arguments.number("warm-ms", 800),
                (int) arguments.number("slices", 5));
        Map<String, Object> result = new LinkedHashMap<>();
        try (Case one = CASES.get(arguments.required("case")).get()) {
            one.open(arguments);
            long heap = Memory.heapBytes();
            long resident = Memory.residentBytes();
            result.put("load", meter.once(() -> one.load(n), n));
            one.settle();
            long grown = Memory.heapBytes() - heap + Memory.residentBytes() - resident;
            result.put("memory_per_record_bytes", grown / (double) n);
            one.check(n);
            for (Map.Entry<String, Op> entry : one.operations().entrySet()) {
                // All of them before any is timed, so that the compiler is done with the code that they share.
                if (one.limit(entry.getKey(), n) == 0) {
                    meter.warm(KeyStream.uniform(n, SEED), entry.getValue());
                }
            }
            Map<String, Object> phases = new LinkedHashMap<>();
            for (String distribution : List.of(arguments.get("distributions", "uniform,zipf").split(","))) {
                phases.put(distribution, timeAll(one, n, meter, distribution));
            }
            result.put("operations", phases);
        }
        result.put("sink", meter.sink());
        return result;
    }

    private static Map<String, Object> timeAll(Case one, long n, Meter meter, String distribution) throws Exception {
        boolean skewed = distribution.equals("zipf");
        KeyStream keys = skewed ? KeyStream.zipf(n, SEED) : KeyStream.uniform(n, SEED);
        Map<String, Object> figures = new LinkedHashMap<>();
        for (Map.Entry<String, Op> entry : one.operations().entrySet()) {
            if (skewed && !one.isSkewed(entry.getKey())) {
                continue;
            }
            long limit = one.limit(entry.getKey(), n);
            figures.put(
                    entry.getKey(),
                    limit > 0 ? meter.counted(keys, entry.getValue(), limit) : meter.timed(keys, entry.getValue()));
        }
        return figures;
    }
}
