"""What players are told now: the steering keys in Redis, and how old their inputs were."""

from __future__ import annotations

from collections import deque
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
WINDOW_MS = 60_000  # over which quantiles are taken; a busy cell gives a new measurement each second
MEASURED_MAX = 60 * KEYS_MAX

Record = tuple[str, str, SteerRecord]
Inputs = Mapping[tuple[str, str], int]


class Decided(msgspec.Struct, frozen=True):
    """What was read in one round.

    Args:
        records: (region, isp, record) of every cell, sorted.
        latencies_ms: of all cells in the last minute, one for each new input: time of its first decision minus its event time.
    """

    records: list[Record] = []
    latencies_ms: list[float] = []


class DecisionCollector:
    """Reads all steering keys in two round trips."""

    name = "redis"

    def __init__(self, endpoint: Callable[[], str]) -> None:
        self._endpoint = endpoint
        self._client: redis.Redis | None = None
        self._seen: Inputs = {}
        self._measured: deque[tuple[int, float]] = deque(maxlen=MEASURED_MAX)

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
        self._measured.extend(measure(records, self._seen))
        self._seen = {(region, isp): record.last_input_ts_ms for region, isp, record in records}
        newest_ms = max((record.ts_ms for _, _, record in records), default=0)
        return Decided(records, [latency for at_ms, latency in self._measured if newest_ms - at_ms <= WINDOW_MS])

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


def measure(records: Sequence[Record], seen: Inputs) -> list[tuple[int, float]]:
    """Of each cell whose newest input has moved on since it was `seen`: when that was decided, and the latency in ms. Pure.

    Only the first decision on a new input counts: while no beacon arrives, decisions go on and their input grows old, which is
    silence and no latency. At first sight of a cell it cannot be known whether its input is new.
    """
    return [
        (record.ts_ms, float(max(record.ts_ms - record.last_input_ts_ms, 0)))
        for region, isp, record in records
        if (region, isp) in seen and record.last_input_ts_ms > seen[region, isp]
    ]


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
    """Quantiles over the last minute; unknown while no input arrives. Pure."""
    ages = sorted(decided.latencies_ms)
    return Latency(
        p50_ms=_quantile(ages, 0.5),
        p99_ms=_quantile(ages, 0.99),
        cells=len(decided.records) if ages else 0,
        oldest_decision_ms=min((record.ts_ms for _, _, record in decided.records), default=None),
    )


def _quantile(ascending: Sequence[float], q: float) -> float | None:
    return ascending[min(int(q * len(ascending)), len(ascending) - 1)] if ascending else None
