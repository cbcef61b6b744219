package io.headrace.warmup;

import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;

/**
 * What a process is told about its warm-up: `after=20,kafka=10.0.0.5:9092,state=slimbase,folder=/data/tmp`, all of it optional.
 * What has a meaning in it, or in a URL, is written as in one (`%2C` for a comma).
 *
 * <ul>
 *   <li>`after`: seconds from the process's start; by then it has registered.
 *   <li>`kafka`: a broker. With it the job reads and writes a topic of its own ({@link WarmUpJob#TOPIC}), exactly once; without, it
 *       makes its rows itself. Several brokers are separated by `;`.
 *   <li>`state`: the state backend, by Flink's name for it or its factory's class.
 *   <li>`folder`: where its temporary folder is made.
 *   <li>`mark`: a file that gets the process's id when there will be no more warming: it is warm, has real tasks, or could not do it.
 * </ul>
 */
final class WarmUpOptions {
    final Duration after;
    final String kafka;
    final String state;
    final String folder;
    final String mark;

    private WarmUpOptions(Map<String, String> given) {
        after = seconds(given.get("after"));
        kafka = given.get("kafka").replace(';', ',');
        state = given.get("state");
        folder = given.get("folder");
        mark = given.get("mark");
    }

    /**
     * Parse the words.
     *
     * @throws IllegalArgumentException a word is none of the above, or has no value
     */
    static WarmUpOptions parse(String text) {
        Map<String, String> given = new HashMap<>(Map.of("after", "20", "kafka", "", "mark", "", "state", "hashmap"));
        given.put("folder", System.getProperty("java.io.tmpdir"));
        for (String word : text == null ? new String[0] : text.split(",")) {
            int at = word.indexOf('=');
            if (at <= 0 || at == word.length() - 1 || !given.containsKey(word.substring(0, at))) {
                throw new IllegalArgumentException(
                        "warm-up: cannot read `" + word + "`; known are after=SECONDS, kafka=HOST:PORT, state=BACKEND, folder=PATH, mark=FILE");
            }
            given.put(word.substring(0, at), URLDecoder.decode(word.substring(at + 1), StandardCharsets.UTF_8));
        }
        return new WarmUpOptions(given);
    }

    private static Duration seconds(String text) {
        try {
            long seconds = Long.parseLong(text);
            if (seconds < 0) {
                throw new NumberFormatException();
            }
            return Duration.ofSeconds(seconds);
        } catch (NumberFormatException error) {
            throw new IllegalArgumentException("warm-up: after=`" + text + "` is no number of seconds", error);
        }
    }
}
