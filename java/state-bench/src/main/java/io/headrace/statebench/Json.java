package io.headrace.statebench;

import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Renders maps, lists, numbers and strings as JSON; nothing more is needed here. */
public final class Json {

    private Json() {}

    /** One line of JSON. */
    public static String render(Object value) {
        StringBuilder out = new StringBuilder();
        append(out, value);
        return out.toString();
    }

    private static void append(StringBuilder out, Object value) {
        if (value instanceof Map) {
            out.append('{');
            ((Map<?, ?>) value).forEach((name, inner) -> {
                append(separated(out, '{'), name.toString());
                append(out.append(": "), inner);
            });
            out.append('}');
        } else if (value instanceof List) {
            out.append('[');
            ((List<?>) value).forEach(inner -> append(separated(out, '['), inner));
            out.append(']');
        } else if (value instanceof Double) {
            out.append(Double.isFinite((Double) value) ? String.format(Locale.ROOT, "%.3f", (Double) value) : "null");
        } else if (value instanceof Number || value instanceof Boolean || value == null) {
            out.append(value);
        } else {
            text(out, value.toString());
        }
    }

    private static StringBuilder separated(StringBuilder out, char open) {
        return out.charAt(out.length() - 1) == open ? out : out.append(", ");
    }

    private static void text(StringBuilder out, String text) {
        out.append('"');
        for (char one : text.toCharArray()) {
            if (one == '"' || one == '\\') {
                out.append('\\').append(one);
            } else if (one < ' ') {
                out.append(String.format("\\u%04x", (int) one));
            } else {
                out.append(one);
            }
        }
        out.append('"');
    }
}
