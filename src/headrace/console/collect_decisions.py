"""What players are told now: the steering keys in Redis, and how old their inputs were."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
RECENT_MS = 15_000  # a record is rewritten each second; one that is older belongs to a scheduler that is gone


class Decided(list[tuple[str, str, SteerRecord]]):
    """(region, isp, record) of every cell, sorted."""


class DecisionCollector:
    """Reads all steering keys in two round trips."""

    name = "redis"

    def __init__(self, endpoint: Callable[[], str]) -> None:
        self._endpoint = endpoint
        self._client: redis.Redis | None = None

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
        decided = Decided()
        for key, raw in zip(keys, raws, strict=True):
            region, _, isp = key.removeprefix(PREFIX).partition(":")
            try:
                if raw is not None:
                    decided.append((region, isp, decode_record(raw, key=key)))
            except HeadraceError as error:
                log.warning("steering_record_damaged", key=key, error=error.message)
        return decided

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
        for region, isp, record in decided
    ]


def measure_latency(decided: Decided, *, now_ms: int) -> Latency:
    """Decision time minus event time of its newest input, over the cells decided in the last `RECENT_MS`. Pure."""
    recent = [record for _, _, record in decided if now_ms - record.ts_ms <= RECENT_MS and record.last_input_ts_ms]
    ages = sorted(float(max(record.ts_ms - record.last_input_ts_ms, 0)) for record in recent)
    return Latency(
        p50_ms=_quantile(ages, 0.5),
        p99_ms=_quantile(ages, 0.99),
        cells=len(ages),
        oldest_decision_ms=min((record.ts_ms for _, _, record in decided), default=None),
    )


def _quantile(ascending: Sequence[float], q: float) -> float | None:
    return ascending[min(int(q * len(ascending)), len(ascending) - 1)] if ascending else None
