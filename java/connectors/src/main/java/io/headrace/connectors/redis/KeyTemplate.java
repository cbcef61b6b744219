package io.headrace.connectors.redis;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.RowType;

/** A key with holes: `cell:{region}:{cdn}` and a row give `cell:north:A`. */
final class KeyTemplate implements Serializable {

    private static final long serialVersionUID = 1L;
    private static final Pattern HOLE = Pattern.compile("\\{([^{}]*)}");

    private final List<String> literals;
    private final List<Integer> columns;
    private final List<LogicalType> types;

    private KeyTemplate(List<String> literals, List<Integer> columns, List<LogicalType> types) {
        this.literals = literals;
        this.columns = columns;
        this.types = types;
    }

    /**
     * Read a template for rows of this type.
     *
     * @throws ValidationException it names no column, an unknown one, or one that is neither text nor a whole number
     */
    static KeyTemplate parse(String template, RowType type) {
        List<String> literals = new ArrayList<>();
        List<Integer> columns = new ArrayList<>();
        Matcher hole = HOLE.matcher(template);
        int from = 0;
        while (hole.find()) {
            int index = type.getFieldIndex(hole.group(1));
            if (index < 0 || !fits(type.getTypeAt(index).getTypeRoot())) {
                throw invalid(template, "{" + hole.group(1) + "} has to be a text or integer column of " + type.getFieldNames());
            }
            literals.add(template.substring(from, hole.start()));
            columns.add(index);
            from = hole.end();
        }
        if (columns.isEmpty()) {
            throw invalid(template, "name at least one column as {column}, or all rows have one key");
        }
        literals.add(template.substring(from));
        return new KeyTemplate(literals, columns, new ArrayList<>(type.getChildren()));
    }

    private static boolean fits(LogicalTypeRoot root) {
        switch (root) {
            case CHAR:
            case VARCHAR:
            case INTEGER:
            case BIGINT:
                return true;
            default:
                return false;
        }
    }

    private static ValidationException invalid(String template, String hint) {
        return new ValidationException("bad option, key-template=`" + template + "`\nhint: " + hint);
    }

    /** The types of all columns of the row. */
    List<LogicalType> types() {
        return types;
    }

    /** The key of a row; NULL is written as `null`. */
    String render(RowData row) {
        StringBuilder key = new StringBuilder(literals.get(0));
        for (int i = 0; i < columns.size(); i++) {
            int column = columns.get(i);
            if (row.isNullAt(column)) {
                key.append("null");
            } else {
                switch (types.get(column).getTypeRoot()) {
                    case INTEGER:
                        key.append(row.getInt(column));
                        break;
                    case BIGINT:
                        key.append(row.getLong(column));
                        break;
                    default:
                        key.append(row.getString(column));
                }
            }
            key.append(literals.get(i + 1));
        }
        return key.toString();
    }
}
