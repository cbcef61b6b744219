from __future__ import annotations

import pytest
from driver.tables import from_properties, short_type

from headrace.core.schema import Column


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("VARCHAR(2147483647) NOT NULL", ("STRING", False)),
        ("VARCHAR(10)", ("VARCHAR(10)", True)),
        ("VARBINARY(2147483647)", ("BYTES", True)),
        ("TIMESTAMP(3) WITH LOCAL TIME ZONE NOT NULL", ("TIMESTAMP_LTZ(3)", False)),
        ("TIMESTAMP(3)", ("TIMESTAMP(3)", True)),
        ("ARRAY<VARCHAR(2147483647) NOT NULL>", ("ARRAY<STRING NOT NULL>", True)),
        ("MAP<VARCHAR(2147483647), INT NOT NULL> NOT NULL", ("MAP<STRING, INT NOT NULL>", False)),
        ("ROW<`a` INT, `b` TIMESTAMP(9) WITH LOCAL TIME ZONE>", ("ROW<`a` INT, `b` TIMESTAMP_LTZ(9)>", True)),
    ],
)
def test_types_are_written_as_users_write_them(text: str, wanted: tuple[str, bool]) -> None:
    """Flink's full text becomes the short one; NOT NULL of the column itself is taken off, that of its parts stays."""
    assert short_type(text) == wanted


def test_every_part_of_a_table_is_read() -> None:
    """Kinds, keys, watermark, partitions and comments come from their own properties."""
    table = from_properties(
        "t",
        {
            "schema.0.name": "k", "schema.0.data-type": "BIGINT NOT NULL", "schema.0.comment": "key",
            "schema.1.name": "ts", "schema.1.data-type": "TIMESTAMP(3)", "schema.1.expr": "`f`(`k`)",
            "schema.2.name": "off", "schema.2.data-type": "BIGINT", "schema.2.metadata": "offset", "schema.2.virtual": "true",
            "schema.primary-key.name": "PK_k", "schema.primary-key.columns": "k",
            "schema.watermark.0.rowtime": "ts", "schema.watermark.0.strategy.expr": "`ts` - 1",
            "partition.keys.0.name": "day", "comment": "about",
        },
        {"layer": "ods"},
    )  # fmt: skip
    assert table.columns == (
        Column(name="k", type="BIGINT", nullable=False, comment="key"),
        Column(name="ts", type="TIMESTAMP(3)", kind="computed", expression="`f`(`k`)"),
        Column(name="off", type="BIGINT", kind="metadata", expression="offset"),
    )
    assert (table.primary_key, table.watermark, table.partitioned_by) == (("k",), ("ts", "`ts` - 1"), ("day",))
    assert (table.comment, table.options) == ("about", {"layer": "ods"})
