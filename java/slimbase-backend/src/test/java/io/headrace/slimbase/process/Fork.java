package io.headrace.slimbase.process;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/** Runs a main class of the tests in a JVM of its own. */
public final class Fork {
    private static final List<String> OPENS = List.of("java.util", "java.lang", "java.nio");

    private Fork() {}

    /**
     * The lines that it printed.
     *
     * @throws IOException it ended with an error; the message has the end of what it printed
     */
    public static List<String> lines(Class<?> main, List<String> options, List<String> arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(options);
        OPENS.forEach(each -> command.add("--add-opens=java.base/" + each + "=ALL-UNNAMED"));
        command.addAll(List.of("-cp", classPath(), main.getName()));
        command.addAll(arguments);
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output;
        try (InputStream in = process.getInputStream()) {
            output = new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
        int code = process.waitFor();
        if (code != 0) {
            throw new IOException("main failed, class=`" + main.getName() + "`, code=" + code + ", output=`"
                    + output.substring(Math.max(0, output.length() - 4_000)) + "`");
        }
        return output.lines().collect(Collectors.toList());
    }

    /** Surefire may start with a jar that only names the real class path. */
    private static String classPath() {
        return System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
    }
}
