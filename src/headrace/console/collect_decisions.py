"""What players are told now: the steering keys in Redis, and how old their inputs were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import redis
from redis.exceptions import RedisError

from headrace.console.live_model import Latency, Steer
from headrace.core.errors import HeadraceError, Unavailable
from headrace.core.log import get_logger
from headrace.serve.decisions import HEARTBEAT_KEY, SteerRecord, decode_record

log = get_logger("headrace.console.decisions")
PREFIX = "steer:"
KEYS_MAX = 512  # cells; as many as the console keeps
CALL_S = 1.5
RECENT_MS = 10_000  # how long a measured latency counts; a busy cell gives a new one each second

Record = tuple[str, str, SteerRecord]
Measured = tuple[int, float, int]


class Decided(msgspec.Struct, frozen=True):
    """What was read in one round.

    Args:
        records: (region, isp, record) of every cell, sorted.
        latencies_ms: of the cells whose newest input was decided on lately: decision time minus event time of that input.
    """

    records: list[Record] = []
    latencies_ms: list[float] = []


class DecisionCollector:
    """Reads all steering keys in two round trips."""

    name = "redis"

    def __init__(self, endpoint: Callable[[], str]) -> None:
        self._endpoint = endpoint
        self._client: redis.Redis | None = None
        self._seen: dict[tuple[str, str], Measured] = {}

    def collect(self) -> Decided:
        """All records that can be read; damaged ones are left out and logged.

        Raises:
            Unavailable: Redis does not answer.
        """
        client = self._client or self._open()
        try:
            found = client.scan_iter(match=f"{PREFIX}*", count=500)
            keys = sorted(key for raw in found if (key := raw.decode()) != HEARTBEAT_KEY)[:KEYS_MAX]
            raws = client.mget(keys) if keys else []
        except (RedisError, OSError) as error:
            raise Unavailable(f"redis does not answer: {error}", operation="decisions.read") from error
        records: list[Record] = []
        for key, raw in zip(keys, raws, strict=True):
            region, _, isp = key.removeprefix(PREFIX).partition(":")
            try:
                if raw is not None:
                    records.append((region, isp, decode_record(raw, key=key)))
            except HeadraceError as error:
                log.warning("steering_record_damaged", key=key, error=error.message)
        self._seen = measure(records, self._seen)
        newest_ms = max((record.ts_ms for _, _, record in records), default=0)
        recent = [latency for _, latency, at_ms in self._seen.values() if newest_ms - at_ms <= RECENT_MS]
        return Decided(records, recent)

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _open(self) -> redis.Redis:
        host, _, port = self._endpoint().rpartition(":")
        self._client = redis.Redis(
            host=host or "127.0.0.1", port=int(port), socket_timeout=CALL_S, socket_connect_timeout=CALL_S
        )
        return self._client


def measure(records: Sequence[Record], seen: Mapping[tuple[str, str], Measured]) -> dict[tuple[str, str], Measured]:
    """The last measured latency of each cell: (event time of the input, latency, when it was decided). Pure.

    Only the first decision on a new input counts: while no beacon arrives, decisions go on and their input grows old, which is
    silence and no latency.
    """
    measured: dict[tuple[str, str], Measured] = {}
    for region, isp, record in records:
        before = seen.get((region, isp))
        if before is not None and record.last_input_ts_ms <= before[0]:
            measured[region, isp] = before
        elif record.last_input_ts_ms and before is not None:
            latency_ms = float(max(record.ts_ms - record.last_input_ts_ms, 0))
            measured[region, isp] = (record.last_input_ts_ms, latency_ms, record.ts_ms)
        else:  # first sight of a cell: whether its input is new cannot be known
            measured[region, isp] = (record.last_input_ts_ms, 0.0, -RECENT_MS)
    return measured


def render_steers(decided: Decided) -> list[Steer]:
    """The keys as the page shows them."""
    return [
        Steer(
            region=region,
            isp=isp,
            version=record.version,
            at_ms=record.ts_ms,
            ttl_s=record.ttl_s,
            weights=record.weights,
            reason=record.reason,
        )
        for region, isp, record in decided.records
    ]


def render_latency(decided: Decided) -> Latency:
    """Quantiles over the cells measured lately; unknown while no input arrives. Pure."""
    ages = sorted(decided.latencies_ms)
    return Latency(
        p50_ms=_quantile(ages, 0.5),
        p99_ms=_quantile(ages, 0.99),
        cells=len(ages),
        oldest_decision_ms=min((record.ts_ms for _, _, record in decided.records), default=None),
    )


def _quantile(ascending: Sequence[float], q: float) -> float | None:
    return ascending[min(int(q * len(ascending)), len(ascending) - 1)] if ascending else None
