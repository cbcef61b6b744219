package io.headrace.connectors.clickhouse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.types.RowKind;
import org.junit.jupiter.api.Test;

/** The line and the statement that ClickHouse gets. */
class RowFormTest {

    private static final RowType TYPE =
            (RowType) DataTypes.ROW(DataTypes.FIELD("a`b", DataTypes.INT())).getLogicalType();

    private static String line(RowForm form, GenericRowData row) {
        return new String(form.apply(row, null).parts()[0], StandardCharsets.UTF_8);
    }

    /** Names are quoted, added columns are listed, and the version grows with every row. */
    @Test
    void versionAndDeletion() {
        RowForm form = new RowForm(TYPE, "_version", "_deleted");
        ClickHouseTarget target = new ClickHouseTarget("http://h:1/", "default", "t", "", "", false);
        assertEquals(
                "INSERT INTO `default`.`t` (`a\\`b`, `_version`, `_deleted`) FORMAT JSONEachRow",
                form.insertInto(target));
        GenericRowData row = GenericRowData.of(1);
        String first = line(form, row);
        row.setRowKind(RowKind.DELETE);
        String second = line(form, row);
        assertTrue(first.endsWith(",\"_deleted\":0}\n"), first);
        assertTrue(second.endsWith(",\"_deleted\":1}\n"), second);
        assertTrue(version(second) > version(first));
    }

    /** Without options the row is written as it is. */
    @Test
    void plain() {
        assertEquals("{\"a`b\":1}\n", line(new RowForm(TYPE, "", ""), GenericRowData.of(1)));
    }

    private static long version(String line) {
        return Long.parseLong(line.replaceAll(".*\"_version\":(\\d+).*\n", "$1"));
    }
}
