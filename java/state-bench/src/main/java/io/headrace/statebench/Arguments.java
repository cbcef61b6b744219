package io.headrace.statebench;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Command line of the harness: `--name value` pairs; a name may come several times. */
public final class Arguments {

    private final Map<String, List<String>> values = new HashMap<>();

    /** Reads the pairs; throws IllegalArgumentException when a value is missing. */
    public Arguments(String[] words) {
        for (int i = 0; i < words.length; i += 2) {
            if (!words[i].startsWith("--") || i + 1 == words.length) {
                throw new IllegalArgumentException("not a --name value pair, word=`" + words[i] + "`");
            }
            values.computeIfAbsent(words[i].substring(2), name -> new ArrayList<>()).add(words[i + 1]);
        }
    }

    /** The value; throws IllegalArgumentException when it was not given. */
    public String required(String name) {
        if (!values.containsKey(name)) {
            throw new IllegalArgumentException("argument missing, name=`--" + name + "`");
        }
        return values.get(name).get(0);
    }

    /** The value, or another. */
    public String get(String name, String otherwise) {
        return values.getOrDefault(name, List.of(otherwise)).get(0);
    }

    /** The value as a number, or another. */
    public long number(String name, long otherwise) {
        return Long.parseLong(get(name, Long.toString(otherwise)));
    }

    /** All values of a name as `key=value`. */
    public Map<String, String> pairs(String name) {
        Map<String, String> pairs = new HashMap<>();
        for (String pair : values.getOrDefault(name, List.of())) {
            int equals = pair.indexOf('=');
            pairs.put(pair.substring(0, equals), pair.substring(equals + 1));
        }
        return pairs;
    }
}
