"""What the OLAP store knows for the board: the closed minutes of `qoe_1m` and the decision log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

import msgspec

from headrace.console.board import JOIN_BOUNDS_MS, Minute
from headrace.console.live_model import Decision
from headrace.core.clock import Clock
from headrace.core.errors import NotFound
from headrace.serve.olap_client import OlapClient

MINUTES = 5
MINUTE_ROWS_MAX = 5_000  # 5 minutes x 36 cells x 25 rooms
DECISIONS_MAX = 100
CALL = timedelta(seconds=2)

_JOIN = ", ".join(f"join_le_{bound}" for bound in JOIN_BOUNDS_MS)
MINUTES_SQL = f"""
SELECT window_start_ms, region, isp, cdn, cid, plays, joins, [{_JOIN}] AS join_le, play_ms, stall_ms, br_ms, br_weight_ms, errors,
  beacons_received, beacons_expected
FROM qoe_1m FINAL WHERE window_start_ms >= {{since_ms:Int64}} ORDER BY window_start_ms DESC LIMIT {MINUTE_ROWS_MAX}
"""
DECISIONS_SQL = f"""
SELECT ts_ms, region, isp, version, reason, weights, weights_before, last_input_ts_ms
FROM decision_log FINAL WHERE action NOT IN ('keep', 'hold') ORDER BY ts_ms DESC LIMIT {DECISIONS_MAX}
"""


class Query(Protocol):
    """The part of `OlapClient` that is used."""

    def query(self, sql: str, *, params: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Rows as dicts."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class OlapFacts(msgspec.Struct, frozen=True):
    """One round's answer."""

    minutes: list[Minute]
    decisions: list[Decision]


class OlapCollector:
    """Asks the store; a table that does not exist yet counts as empty."""

    name = "olap"

    def __init__(
        self, endpoint: Callable[[], str], *, clock: Clock, connect: Callable[[str], Query] | None = None
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._connect = connect or (lambda url: OlapClient(url, timeout=CALL))
        self._client: Query | None = None

    def collect(self) -> OlapFacts:
        """The minutes and decisions that the board shows; raises as `OlapClient.query`."""
        if self._client is None:
            self._client = self._connect(self._endpoint())
        since_ms = self._clock.now_ms() - (MINUTES + 2) * 60_000
        minutes = self._rows(MINUTES_SQL, {"since_ms": since_ms})
        return OlapFacts(
            [msgspec.convert(row, Minute, strict=False) for row in minutes],
            [render_decision(row) for row in self._rows(DECISIONS_SQL, {})],
        )

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _rows(self, sql: str, params: Mapping[str, object]) -> list[dict[str, Any]]:
        assert self._client is not None
        try:
            return self._client.query(sql, params=params)
        except NotFound:
            return []


def render_decision(row: Mapping[str, Any]) -> Decision:
    """A row of `decision_log`, whose weight vectors are JSON text."""
    return Decision(
        at_ms=int(row["ts_ms"]),
        region=str(row["region"]),
        isp=str(row["isp"]),
        version=int(row["version"]),
        before=_weights(row["weights_before"]),
        weights=_weights(row["weights"]),
        reason=str(row["reason"]),
        last_input_ms=int(row["last_input_ts_ms"]) if row["last_input_ts_ms"] else None,
    )


def _weights(text: str) -> dict[str, float]:
    return msgspec.json.decode(text, type=dict[str, float]) if text else {}
