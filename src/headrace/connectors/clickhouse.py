"""ClickHouse, or the embedded OLAP host behind the same HTTP face: one ReplacingMergeTree per table, newest row per key.

The sink writes batches at least once; the same primary key again replaces the row, so a replay changes nothing (read with `FINAL`, or
aggregate over the newest). A table without a primary key is a plain MergeTree and keeps every row.

`plan_ddl` is pure: it compares the wanted columns with the present ones and yields CREATE, ADD COLUMN or TTL statements, never a DROP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from headrace.connectors.external import Externals
from headrace.connectors.model import Capabilities, OptionSpec, RenderContext, System, need_column, option_values
from headrace.core.errors import Conflict, Invalid, Place, Unsupported
from headrace.core.schema import Column, Table
from headrace.core.units import parse_duration_ms

DATABASE = "default"
OPTIONS = (
    OptionSpec(
        name="time-column",
        form="columns",
        doc="column that `retention` counts from; default: the first TIMESTAMP column, else the first `…_ms` BIGINT",
    ),
    OptionSpec(
        name="order-by", form="columns", doc="sort order of a table without primary key; default: time, then arrival"
    ),
    OptionSpec(
        name="flush-interval", form="duration", default="500 ms", doc="longest wait of a row in the sink's batch"
    ),
    OptionSpec(name="flush-rows", form="int", default="2000", maximum=1_000_000, doc="largest batch of the sink"),
)
_PLAIN = {
    "STRING": "String",
    "BOOLEAN": "Bool",
    "TINYINT": "Int8",
    "SMALLINT": "Int16",
    "INT": "Int32",
    "INTEGER": "Int32",
    "BIGINT": "Int64",
    "FLOAT": "Float32",
    "DOUBLE": "Float64",
    "DATE": "Date32",
    "BYTES": "String",
}
_PARAMETRIC = re.compile(r"^(?P<head>[A-Z_]+)\s*(?:\((?P<args>[\d,\s]+)\))?(?P<tail>(?: [A-Z]+)*)$")
_NOT_NULL = " NOT NULL"


def column_type(flink_type: str, *, nullable: bool) -> str:
    """ClickHouse's type for a Flink SQL type, as its parser prints it.

    Raises:
        Unsupported: there is no faithful counterpart.
    """
    text = flink_type.strip()
    if text.upper().endswith(_NOT_NULL):
        text, nullable = text[: -len(_NOT_NULL)].strip(), False
    nested = re.fullmatch(r"(?i)(ARRAY|MULTISET)<(.*)>", text)
    if nested:
        return f"Array({column_type(nested.group(2), nullable=True)})"
    pair = re.fullmatch(r"(?i)MAP<(STRING|VARCHAR\(\d+\))(?: NOT NULL)?,\s*(.*)>", text)
    if pair:
        return f"Map(String, {column_type(pair.group(2), nullable=True)})"
    base = _scalar(text.upper())
    return f"Nullable({base})" if nullable else base


def _scalar(text: str) -> str:
    match = _PARAMETRIC.match(text)
    head, args, tail = (match["head"], match["args"] or "", match["tail"].strip()) if match else (text, "", "")
    if head in _PLAIN and not args:
        return _PLAIN[head]
    if head in ("VARCHAR", "CHAR", "VARBINARY", "BINARY"):
        return "String"
    if head == "DECIMAL":
        precision, _, scale = (args or "10,0").partition(",")
        return f"Decimal({int(precision)}, {int(scale or 0)})"
    if head in ("TIMESTAMP", "TIMESTAMP_LTZ") and tail in ("", "WITH LOCAL TIME ZONE", "WITHOUT TIME ZONE"):
        return f"DateTime64({min(int(args or 6), 9)}, 'UTC')"
    raise Unsupported(
        "no ClickHouse type for this column type", context={"type": text}, hint="CAST it to STRING or to numbers"
    )


def check(table: Table, place: Place | None) -> None:
    """Refuse column types without counterpart, an unusable key, and a retention without a time to count from."""
    for column in table.physical:
        try:
            column_type(column.type, nullable=column.nullable)
        except Unsupported as error:
            error.place = error.place or place
            raise error.with_context(table=table.name, column=column.name) from error
    if table.retention and _time_column(table) is None:
        raise Invalid(
            "retention needs a column with the row's time",
            place=place,
            context={"table": table.name, "retention": table.retention},
            hint="set 'time-column' to a TIMESTAMP or a BIGINT `…_ms` column",
        )
    time_column = option_values(OPTIONS, table)["time-column"]
    if time_column and "," in time_column:
        raise Invalid("one time column, not several", place=place, context={"table": table.name})


def render(table: Table, context: RenderContext) -> dict[str, str]:
    """Physical options of the sink."""
    options = option_values(OPTIONS, table)
    return {
        "connector": "clickhouse",
        "url": context.endpoints.olap,
        "database": DATABASE,
        "table": table.name,
        "sink.flush-interval": options["flush-interval"],
        "sink.flush-rows": options["flush-rows"],
    }


def _time_column(table: Table) -> Column | None:
    declared = option_values(OPTIONS, table)["time-column"]
    if declared:
        return need_column(table, declared, option="time-column", place=None)
    stamps = [column for column in table.physical if column.type.upper().startswith("TIMESTAMP")]
    numbers = [
        column for column in table.physical if column.name.endswith("_ms") and column.type.upper().startswith("BIGINT")
    ]
    return next(iter([*stamps, *numbers]), None)


def columns_of(table: Table) -> dict[str, str]:
    """Column name → ClickHouse type; key columns and the time column are never Nullable."""
    time_column = _time_column(table) if table.retention else None
    solid = {*table.primary_key, *(() if time_column is None else (time_column.name,)), *_order(table)}
    return {
        column.name: column_type(column.type, nullable=column.nullable and column.name not in solid)
        for column in table.physical
    }


def _order(table: Table) -> tuple[str, ...]:
    if table.primary_key:
        return table.primary_key
    declared = option_values(OPTIONS, table)["order-by"]
    return tuple(part.strip() for part in declared.split(",") if part.strip())


def plan_ddl(table: Table, present: Mapping[str, str]) -> list[str]:
    """The statements that make the engine's table be as declared; `present` is empty when there is none.

    Pure.

    Raises:
        Conflict: a column exists with another type.
    """
    wanted = columns_of(table)
    quoted = f"`{DATABASE}`.`{table.name}`"
    if not present:
        columns = ", ".join(f"`{name}` {kind}" for name, kind in wanted.items())
        engine = "ReplacingMergeTree" if table.primary_key else "MergeTree"
        order = ", ".join(f"`{name}`" for name in _order(table)) or "tuple()"
        return [
            f"CREATE TABLE IF NOT EXISTS {quoted} ({columns}) ENGINE = {engine} ORDER BY ({order}){_ttl(table)}".replace(
                "(tuple())", "tuple()"
            )
        ]
    for name, kind in wanted.items():
        if name in present and _plain(present[name]) != _plain(kind):
            raise Conflict(
                "the OLAP table has another type for a column",
                context={"table": table.name, "column": name, "present": present[name], "declared": kind},
                hint="add a column under a new name, or drop the OLAP table",
            )
    added = [
        f"ALTER TABLE {quoted} ADD COLUMN IF NOT EXISTS `{name}` {kind}"
        for name, kind in wanted.items()
        if name not in present
    ]
    ttl = _ttl(table)
    return added + ([f"ALTER TABLE {quoted} MODIFY{ttl}"] if ttl else [])


def _ttl(table: Table) -> str:
    column = _time_column(table) if table.retention else None
    if column is None:
        return ""
    seconds = max(1, parse_duration_ms(table.retention, what="retention") // 1000)
    time = (
        f"toDateTime(`{column.name}`)"
        if column.type.upper().startswith("TIMESTAMP")
        else f"toDateTime(intDiv(`{column.name}`, 1000))"
    )
    return f" TTL {time} + toIntervalSecond({seconds})"


def _plain(kind: str) -> str:
    return kind.replace(" ", "")


def ensure(table: Table, externals: Externals) -> list[str]:
    """Create or widen the OLAP table; returns one sentence per change."""
    rows = externals.olap.rows(
        f"SELECT name, type FROM system.columns WHERE database = '{DATABASE}' AND table = '{table.name}'"
    )
    present = {str(row["name"]): str(row["type"]) for row in rows}
    statements = plan_ddl(table, present)
    for statement in statements:
        externals.olap.execute(statement)
    if not present:
        return [f"OLAP table {table.name} created"]
    return [f"OLAP table {table.name} widened" for statement in statements if "ADD COLUMN" in statement]


SYSTEM = System(
    name="clickhouse",
    options=OPTIONS,
    capabilities=Capabilities(source=False, sink=True, upsert=True, bounded_read=False, guarantee="idempotent"),
    render=render,
    check=check,
    ensure=ensure,
)
