package io.headrace.statebench.tiers;

import io.headrace.statebench.Arguments;
import io.headrace.statebench.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Prints one JSON object a phase on a line of its own, with what the process and its page cache hold then, and a last one that says how it ended.
 *
 * <p>State that does not fit ends a fork in the way of its backend: SlimBase refuses (`throttled`), a heap is full (`out_of_heap`), the kernel kills (then there is no
 * last line). All three are results here.
 */
final class Report {

    private final Path memoryStat;
    private static volatile long at;
    private static volatile String phase = "open";

    /** A phase; returns its figures. */
    interface Phase {
        Map<String, Object> run() throws Exception;
    }

    /** All phases. */
    interface Body {
        void run() throws Exception;
    }

    Report(Arguments arguments) {
        String path = arguments.get("memory-stat", "");
        memoryStat = path.isEmpty() ? null : Path.of(path);
    }

    /** Which record is loaded, for the report of a failure. */
    void at(long record) {
        at = record;
    }

    void phase(String name, Phase run) throws Exception {
        phase = name;
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("phase", name);
        line.putAll(run.run());
        if (memoryStat != null) {
            memory(line);
        }
        say(line);
    }

    private static void say(Map<String, Object> line) {
        System.out.println(Json.render(line));
        System.out.flush();
    }

    /** Of a control group: anonymous memory and page cache, by the names of version 1 or 2. */
    private void memory(Map<String, Object> line) throws IOException {
        Map<String, Long> stat = new LinkedHashMap<>();
        for (String one : Files.readAllLines(memoryStat)) {
            String[] pair = one.split(" ");
            stat.put(pair[0], Long.parseLong(pair[1]));
        }
        line.put("anonymous_bytes", stat.containsKey("anon") ? stat.get("anon") : stat.get("total_rss"));
        line.put("page_cache_bytes", stat.containsKey("file") ? stat.get("file") : stat.get("total_cache"));
    }

    /** Runs all phases, says how it ended and ends the process: backends leave non-daemon threads behind. */
    static void exitAfter(Arguments arguments, Body body) {
        Map<String, Object> end = new LinkedHashMap<>();
        int code = 0;
        try {
            body.run();
            end.put("end", "done");
        } catch (Throwable error) {
            String kind = kind(error);
            end.put("end", kind);
            end.put("in_phase", phase);
            end.put("at_record", at);
            end.put("message", root(error).toString());
            if (kind.equals("failed")) {
                error.printStackTrace();
                code = 1;
            }
        }
        say(end);
        System.exit(code);
    }

    private static String kind(Throwable error) {
        for (Throwable one = error; one != null; one = one.getCause()) {
            if (one instanceof OutOfMemoryError) {
                return "out_of_heap";
            }
            // By name: SlimBase is not on the class path that this is compiled against.
            if (one.getClass().getSimpleName().equals("SlimBaseException") && kindOf(one).equals("Throttled")) {
                return "throttled";
            }
        }
        return "failed";
    }

    private static String kindOf(Throwable error) {
        try {
            return String.valueOf(error.getClass().getMethod("kind").invoke(error));
        } catch (ReflectiveOperationException e) {
            return "";
        }
    }

    private static Throwable root(Throwable error) {
        return error.getCause() == null ? error : root(error.getCause());
    }
}
