"""The decisions in Redis: typed records, one reader and one writer.

Key `steer:{region}:{isp}` holds one `SteerRecord` as JSON; `steer:heartbeat` one `SchedulerHeartbeat` that expires. The record
carries the scheduler's own state in `state`, so that a restarted scheduler goes on where the last one stopped; readers
ignore it. A damaged value is an error of kind `Corrupt` for that cell alone: readers keep their last good record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from headrace.core.errors import Corrupt, HeadraceError, Unavailable

HEARTBEAT_KEY = "steer:heartbeat"
HEARTBEAT_TTL_S = 15  # three missed beats of the slowest loop (5 s)
WEIGHT_SUM_TOLERANCE = 1e-3
TIMEOUT_S = 1.0  # of one Redis call; the loops above run at 1 to 2 Hz

RedisClient = aioredis.Redis


class Cell(msgspec.Struct, frozen=True, order=True):
    """Where sessions are steered alike: a region and an ISP."""

    region: str
    isp: str

    def __str__(self) -> str:
        """`region:isp`, as in the keys."""
        return f"{self.region}:{self.isp}"


class SteerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One cell's weights as decided.

    Args:
        version: counts the changes of this cell's weights.
        ts_ms: when it was decided; a record is rewritten each second even if nothing changes.
        weights: share of new and re-polling sessions per CDN; they sum to 1.
        ttl_s: how long a player may keep its answer.
        reason: one sentence.
        inputs_hash: of the facts, state and rules that were looked at; joins with `decision_log`.
        last_input_ts_ms: event time of the newest fact.
        state: the scheduler's memory of the cell, opaque to readers.
    """

    version: int
    ts_ms: int
    weights: dict[str, float]
    ttl_s: float
    reason: str = ""
    inputs_hash: str = ""
    last_input_ts_ms: int = 0
    state: msgspec.Raw = msgspec.Raw(b"null")


class SchedulerHeartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """Proof of life of the scheduler."""

    ts_ms: int
    pid: int
    mode: str
    cells: int
    decisions: int
    last_input_ts_ms: int
    log_dropped: int = 0


def steer_key(cell: Cell) -> str:
    """The Redis key of a cell."""
    return f"steer:{cell.region}:{cell.isp}"


def encode_record(record: SteerRecord) -> bytes:
    """The record as JSON."""
    return msgspec.json.encode(record)


def decode_record(raw: bytes | str, *, key: str) -> SteerRecord:
    """Parse and check a record.

    Raises:
        Corrupt: no such JSON, no weights, a weight that is negative or no number, or weights that do not sum to 1.
    """
    try:
        record = msgspec.json.decode(raw, type=SteerRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _corrupt(f"not a steering record: {error}", key) from error
    values = record.weights.values()
    if not values or not all(math.isfinite(value) and value >= 0 for value in values):
        raise _corrupt("weights are missing, negative or not finite", key)
    if abs(sum(values) - 1) > WEIGHT_SUM_TOLERANCE:
        raise _corrupt(f"weights sum to {sum(values):.4f}", key)
    if not 0 < record.ttl_s <= 3600:
        raise _corrupt(f"ttl_s is {record.ttl_s}", key)
    return record


def _corrupt(message: str, key: str) -> Corrupt:
    return Corrupt(
        message, context={"key": key}, hint="the scheduler rewrites the key each second; delete it if it stays"
    )


def open_redis(endpoint: str) -> RedisClient:
    """A client for `host:port` with short time-outs and no retries of its own: the loops retry."""
    host, _, port = endpoint.rpartition(":")
    return aioredis.Redis(
        host=host or "127.0.0.1",
        port=int(port),
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


class DecisionStore:
    """Reads and writes steering records."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def load(self, cells: Sequence[Cell]) -> tuple[dict[Cell, SteerRecord], list[HeadraceError]]:
        """The records of `cells`; those that are damaged come back as errors, absent ones not at all.

        Raises:
            Unavailable: Redis does not answer.
        """
        keys = [steer_key(cell) for cell in cells]
        try:
            raws = await self._client.mget(keys) if keys else []
        except (RedisError, OSError) as error:
            raise _unavailable(error, "decisions.load") from error
        records: dict[Cell, SteerRecord] = {}
        damaged: list[HeadraceError] = []
        for cell, key, raw in zip(cells, keys, raws, strict=True):
            if raw is not None:
                try:
                    records[cell] = decode_record(raw, key=key)
                except HeadraceError as error:
                    damaged.append(error)
        return records, damaged

    async def store(self, records: dict[Cell, SteerRecord], heartbeat: SchedulerHeartbeat | None) -> None:
        """Write all records and the heartbeat in one round trip.

        Raises:
            Unavailable: Redis does not answer; nothing or a part may have been written, the next write repairs it.
        """
        try:
            async with self._client.pipeline(transaction=False) as pipe:
                for cell, record in records.items():
                    pipe.set(steer_key(cell), encode_record(record))
                if heartbeat is not None:
                    pipe.set(HEARTBEAT_KEY, msgspec.json.encode(heartbeat), ex=HEARTBEAT_TTL_S)
                await pipe.execute()
        except (RedisError, OSError) as error:
            raise _unavailable(error, "decisions.store") from error

    async def heartbeat(self) -> SchedulerHeartbeat | None:
        """The scheduler's last sign of life, if it has not expired.

        Raises:
            Unavailable: Redis does not answer.
            Corrupt: the value is not a heartbeat.
        """
        try:
            raw = await self._client.get(HEARTBEAT_KEY)
        except (RedisError, OSError) as error:
            raise _unavailable(error, "decisions.heartbeat") from error
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw, type=SchedulerHeartbeat)
        except msgspec.MsgspecError as error:
            raise _corrupt(f"not a heartbeat: {error}", HEARTBEAT_KEY) from error

    async def close(self) -> None:
        """Release the connections."""
        await self._client.aclose()


def _unavailable(error: Exception, operation: str) -> Unavailable:
    return Unavailable(
        f"redis does not answer: {type(error).__name__}: {error}",
        operation=operation,
        hint="`headrace status` shows whether valkey runs",
    )
