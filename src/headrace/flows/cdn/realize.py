"""Realize: decisions to Redis, where players' answers come from, and to the logs, where explanations come from.

Redis is written at every round, as the whole set of cells, so a write that failed is repaired by the next. The logs
are written aside, from bounded queues: a slow or dead OLAP store or Kafka loses log rows (counted, the oldest first), never a
decision. A `keep` or `hold` is logged once per `keep_log_s` and cell, anything else at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Protocol

import msgspec
from confluent_kafka import KafkaException, Producer

from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError
from headrace.core.log import get_logger
from headrace.flows.cdn.model import CellKey, Decision
from headrace.flows.cdn.scheduler import Decided
from headrace.serve.decisions import SteerRecord
from headrace.serve.olap_client import AsyncOlapClient

QUEUE_MAX = 10_000  # rows, some 3 kB each: 30 MB, 20 minutes of 8 cells at one row a second
INSERT_MAX = 1_000
INSERT_EVERY_S = 1.0
RETRY_S = 5.0
CLOSE_S = 2.0
TABLE = "decision_log"
_log = get_logger("headrace.flows.cdn.realize")


class LogRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `decision_log` (apps/live-quality/tables/decision_log.sql)."""

    ts_ms: int
    region: str
    isp: str
    version: int
    action: str
    reason: str
    weights: str
    weights_before: str
    moved: float
    ttl_s: float
    alternatives: str
    inputs: str
    inputs_hash: str
    last_input_ts_ms: int


def render_row(decided: Decided) -> LogRow:
    """The log row of a decision."""
    decision = decided.decision
    return LogRow(
        ts_ms=decision.at_ms,
        region=decision.cell.region,
        isp=decision.cell.isp,
        version=decision.state.version,
        action=decision.action,
        reason=decision.reason,
        weights=msgspec.json.encode(decision.weights).decode(),
        weights_before=msgspec.json.encode(decision.before).decode(),
        moved=decision.moved,
        ttl_s=decision.ttl_s,
        alternatives=msgspec.json.encode(decision.alternatives).decode(),
        inputs=decided.inputs.decode(),
        inputs_hash=decision.inputs_hash,
        last_input_ts_ms=decision.last_input_ms,
    )


def render_record(decision: Decision) -> SteerRecord:
    """The Redis record of a decision, with the state that a restarted scheduler goes on from."""
    return SteerRecord(
        version=decision.state.version,
        ts_ms=decision.at_ms,
        weights=decision.weights,
        ttl_s=decision.ttl_s,
        reason=decision.reason,
        inputs_hash=decision.inputs_hash,
        last_input_ts_ms=decision.last_input_ms,
        state=msgspec.Raw(msgspec.json.encode(decision.state)),
    )


class Sifter:
    """Chooses what is worth a log row: every change, and one row per cell and interval otherwise."""

    def __init__(self, *, keep_log_s: float) -> None:
        self._every_ms = keep_log_s * 1_000
        self._logged_ms: dict[CellKey, int] = {}

    def sift(self, decided: Iterable[Decided]) -> list[Decided]:
        """Those to log, remembered as logged."""
        chosen = []
        for one in decided:
            cell, at_ms = one.decision.cell, one.decision.at_ms
            quiet = one.decision.action in ("keep", "hold")
            if not quiet or at_ms - self._logged_ms.get(cell, 0) >= self._every_ms:
                self._logged_ms[cell] = at_ms
                chosen.append(one)
        return chosen


class LogSink(Protocol):
    """Takes log rows; never blocks, never raises."""

    def put(self, rows: Iterable[LogRow]) -> None:
        """Queue rows."""
        ...

    @property
    def dropped(self) -> int:
        """Rows lost so far."""
        ...

    async def close(self) -> None:
        """Write what is queued, if that can be done soon."""
        ...


class OlapLog:
    """Inserts rows into the OLAP store from a bounded queue, in one background task."""

    def __init__(self, client: AsyncOlapClient, *, clock: Clock, queue_max: int = QUEUE_MAX) -> None:
        self._client, self._clock = client, clock
        self._queue: deque[LogRow] = deque()
        self._queue_max = queue_max
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Rows lost because the store did not take them in time."""
        return self._dropped

    @property
    def queued(self) -> int:
        """Rows waiting."""
        return len(self._queue)

    def start(self) -> None:
        """Begin to write in the background."""
        self._task = asyncio.get_running_loop().create_task(self._write_for_ever())

    def put(self, rows: Iterable[LogRow]) -> None:
        """Queue rows; the oldest fall out when the queue is full."""
        self._queue.extend(rows)
        while len(self._queue) > self._queue_max:
            self._queue.popleft()
            self._dropped += 1

    async def _write_for_ever(self) -> None:
        while True:
            done = await self.flush()
            await self._clock.sleep_async(INSERT_EVERY_S if done else RETRY_S)

    async def flush(self) -> bool:
        """Insert what is queued; False if the store did not take it, which keeps it queued."""
        while self._queue:
            batch = [self._queue[number] for number in range(min(INSERT_MAX, len(self._queue)))]
            try:
                await self._client.insert(TABLE, batch)
            except HeadraceError as error:
                if not self._failing:
                    _log.warning("decision_log_not_written", error=str(error), queued=len(self._queue))
                self._failing = True
                return False
            self._forget(batch)
        if self._failing:
            _log.info("decision_log_written_again", dropped=self._dropped)
        self._failing = False
        return True

    def _forget(self, batch: list[LogRow]) -> None:
        """Remove what was written, unless it has fallen out of the full queue meanwhile."""
        written = {id(row) for row in batch}
        while self._queue and id(self._queue[0]) in written:
            self._queue.popleft()

    async def close(self) -> None:
        """Stop the task, try once to write the rest."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await asyncio.wait_for(self.flush(), CLOSE_S)
        except TimeoutError:
            _log.warning("decision_log_left_unwritten", rows=len(self._queue))
        await self._client.close()


class KafkaLog:
    """Sends rows to the topic of decisions; librdkafka's own queue is the bound."""

    def __init__(self, *, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._dropped = 0
        self._failing = False
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "headrace-scheduler",
                "acks": "all",
                "linger.ms": 20,
                "message.timeout.ms": 60_000,
                "queue.buffering.max.messages": QUEUE_MAX,
                "reconnect.backoff.max.ms": 1_000,
                "log.connection.close": False,
            }
        )

    @property
    def dropped(self) -> int:
        """Rows that Kafka did not take."""
        return self._dropped

    def put(self, rows: Iterable[LogRow]) -> None:
        """Hand rows to the producer."""
        for row in rows:
            try:
                self._producer.produce(
                    self._topic,
                    msgspec.json.encode(row),
                    f"{row.region}|{row.isp}".encode(),
                    on_delivery=self._on_delivery,
                )
            except (BufferError, KafkaException) as error:
                self._fail(str(error))
        self._producer.poll(0)

    def _on_delivery(self, error: object, _message: object) -> None:
        if error is None:
            self._failing = False
        else:
            self._fail(str(error))

    def _fail(self, detail: str) -> None:
        self._dropped += 1
        if not self._failing:
            _log.warning("decision_event_not_sent", topic=self._topic, detail=detail)
        self._failing = True

    async def close(self) -> None:
        """Wait shortly for acknowledgements."""
        left = await asyncio.to_thread(self._producer.flush, CLOSE_S)
        self._dropped += left
