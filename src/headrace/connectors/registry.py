"""The systems by name, and what the catalog does with a table through them: check, render, ensure."""

from __future__ import annotations

from headrace.connectors.clickhouse import SYSTEM as CLICKHOUSE
from headrace.connectors.external import Externals
from headrace.connectors.files import SYSTEM as FILES
from headrace.connectors.kafka import SYSTEM as KAFKA
from headrace.connectors.model import LAYERS, TABLE_NAME, RenderContext, System, check_options
from headrace.connectors.redis import SYSTEM as REDIS
from headrace.core.errors import Invalid, Place, nearest
from headrace.core.schema import Table
from headrace.core.units import parse_duration_ms

SYSTEMS: dict[str, System] = {system.name: system for system in (CLICKHOUSE, FILES, KAFKA, REDIS)}


def check_table(table: Table, *, place: Place | None = None) -> None:
    """Refuse a table that no job could use.

    Raises:
        Invalid: a bad name, an unknown layer, system or option (nearest names offered), a bad retention.
        Unsupported: a column type that the system cannot hold.
    """
    if not TABLE_NAME.match(table.name):
        raise Invalid(
            "bad table name",
            place=place,
            context={"table": table.name},
            hint="lower-case letters, digits and `_`, starting with a letter, at most 63",
        )
    for option, value, known in (("layer", table.layer, LAYERS), ("system", table.system, tuple(sorted(SYSTEMS)))):
        if value not in known:
            close = ", ".join(nearest(value, known)) or ", ".join(known)
            raise Invalid(
                f"unknown {option}" if value else f"the table declares no {option}",
                place=place,
                context={"table": table.name, option: value},
                hint=f"known: {close}; set it in WITH: '{option}' = '…'",
            )
    if table.retention:
        parse_duration_ms(table.retention, what="retention", place=place)
    system = SYSTEMS[table.system]
    check_options(system, table, place=place)
    system.check(table, place)


def render_options(table: Table, context: RenderContext) -> dict[str, str]:
    """The physical options of Flink's WITH clause for a checked table."""
    return SYSTEMS[table.system].render(table, context)


def ensure_resource(table: Table, externals: Externals) -> list[str]:
    """Create what the table needs in its system; idempotent; returns one sentence per change."""
    return SYSTEMS[table.system].ensure(table, externals)
