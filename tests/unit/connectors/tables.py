"""Tables to render, short."""

from __future__ import annotations

from tests.unit.platform_parts import ENDPOINTS

from headrace.connectors.model import Mode, RenderContext
from headrace.core.schema import Column, Table

COLUMNS = (
    Column("sid", "STRING", nullable=False),
    Column("n", "BIGINT"),
    Column("at_ms", "BIGINT", nullable=False),
    Column("ts", "TIMESTAMP_LTZ(3) *ROWTIME*", kind="computed", expression="TO_TIMESTAMP_LTZ(at_ms, 3)"),
)


def table(
    system: str, *, key: tuple[str, ...] = (), message_key: str = "", retention: str = "", **options: str
) -> Table:
    """A table named `t` in layer dwd; `key` is the primary key, `message_key` the option `key`, an option's `_` stands for `-`."""
    declared = {name.replace("_", "-"): value for name, value in options.items()}
    return Table(
        name="t",
        layer="dwd",
        system=system,
        retention=retention,
        columns=COLUMNS,
        primary_key=key,
        options=declared | ({"key": message_key} if message_key else {}),
        ddl="CREATE TABLE t …",
    )


def context(mode: Mode = "streaming") -> RenderContext:
    """Of a job named `j`."""
    return RenderContext(endpoints=ENDPOINTS, archive_uri="file:///home/data/archive", job="j", mode=mode)
