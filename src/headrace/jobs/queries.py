"""Batch queries over the catalog's tables: the same tables, bounded, for recounts and for looking at rows."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.connectors.registry import SYSTEMS
from headrace.core.errors import Invalid
from headrace.flink.protocol import QUERY_ROWS_MAX, Query, Rows, Script
from headrace.jobs.planning import Planner

CONSUMER = "query"  # group id of bounded reads; commits no offsets


def run_query(planner: Planner, sql: str, *, limit: int, config: Mapping[str, str] | None = None) -> Rows:
    """Run one SELECT in batch mode on the cluster.

    Args:
        planner: knows the catalog's tables and the stack.
        sql: SET and CREATE VIEW statements, then one SELECT.
        limit: rows to return at most.
        config: table configuration on top of the defaults.

    Raises:
        Invalid: wrong SQL (with line and column), or a limit out of range.
        Unavailable: driver or cluster do not answer.
    """
    if not 1 <= limit <= QUERY_ROWS_MAX:
        raise Invalid("bad limit", context={"limit": limit}, hint=f"from 1 to {QUERY_ROWS_MAX}")
    readable = [
        entry.table for entry in planner.catalog.entries() if SYSTEMS[entry.table.system].capabilities.bounded_read
    ]
    definitions = planner.definitions(readable, job=CONSUMER, mode="batch")
    request = Query(
        script=Script(sql, "<query>"),
        tables=definitions,
        config=dict(config or {}),
        batch=True,
        cluster=planner.endpoints.flink,
        limit=limit,
    )
    return planner.driver.query(request)
