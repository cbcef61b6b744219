"""Schema types: what the metadata service knows of a table, independent of the system that stores it.

A type is Flink's SQL type as its own parser prints it (`STRING`, `BIGINT`, `TIMESTAMP(3)`, …), kept as text; nothing
here parses SQL. `Table.physical` are the columns that are stored, in order; computed and metadata columns are the rest.
"""

from __future__ import annotations

import msgspec


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column; `kind` is physical, computed or metadata; `expression` is set for the last two."""

    name: str
    type: str
    nullable: bool = True
    kind: str = "physical"
    expression: str = ""
    comment: str = ""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A logical table as declared by a user.

    Args:
        name: unique in the catalog.
        layer: ods, dwd, dws, ads or dim.
        system: kafka, clickhouse, redis, files, …: the connector module that fills in the physical options.
        owner: who answers for it.
        retention: how long rows are kept, as declared (`7 d`); empty means for ever.
        options: all other options of the WITH clause, as declared.
        watermark: `column, expression`, or empty.
        ddl: the declaration itself, unchanged.
    """

    name: str
    layer: str
    system: str
    owner: str = ""
    retention: str = ""
    comment: str = ""
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    watermark: tuple[str, str] | None = None
    partitioned_by: tuple[str, ...] = ()
    options: dict[str, str] = {}
    ddl: str

    @property
    def physical(self) -> tuple[Column, ...]:
        """The stored columns, in order."""
        return tuple(column for column in self.columns if column.kind == "physical")
