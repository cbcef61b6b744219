"""Collect: rows of `dws.cell_1s` from Kafka, read from a few seconds back, without a consumer group.

The window needs only the last seconds, so nothing is committed: after a start, and whenever partitions appear, reading begins
`BACK_S` before now. librdkafka reconnects by itself; a topic that does not exist yet is looked for once a second. Rows that
are no JSON of the expected form are counted and skipped, never fatal.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from headrace.core.clock import Clock
from headrace.core.log import get_logger
from headrace.flows.cdn.model import CellRow

BACK_S = 20  # the long window and then some
BATCH_MAX = 2_000  # rows taken at once; 100 cells x 2 CDNs x a few updates a second is 1,000
POLL_S = 0.1
LOOK_EVERY_S = 1.0  # for a topic that does not exist
RELOOK_EVERY_S = 30.0  # for partitions added later, or a topic made anew
METADATA_S = 2.0
_log = get_logger("headrace.flows.cdn.collect")


class CellSource(Protocol):
    """Where rows come from."""

    def read(self) -> list[CellRow]:
        """Rows that have arrived; waits up to about 0.1 s for the first; never raises."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


class KafkaCells:
    """Reads rows from Kafka; one thread at a time."""

    def __init__(self, *, bootstrap: str, topic: str, clock: Clock) -> None:
        self._topic, self._clock = topic, clock
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "headrace-scheduler",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "fetch.wait.max.ms": 50,
                "fetch.error.backoff.ms": 200,
                "reconnect.backoff.max.ms": 1_000,
                "auto.offset.reset": "latest",
                "log.connection.close": False,
            }
        )
        self._decoder = msgspec.json.Decoder(CellRow)
        self._assigned: frozenset[int] = frozenset()
        self._look_at_s = 0.0
        self._said = ""
        self.malformed = 0
        self.errors = 0

    def read(self) -> list[CellRow]:
        """Rows that have arrived; tombstones are skipped."""
        self._look_for_partitions()
        if not self._assigned:
            self._clock.sleep(POLL_S)
            return []
        rows = []
        for message in self._consumer.consume(BATCH_MAX, POLL_S):
            if message.error():
                self.errors += 1
                self._say("input_error", str(message.error()))
                continue
            row = self._decode(message.value())
            if row is not None:
                rows.append(row)
        return rows

    def _decode(self, raw: bytes | None) -> CellRow | None:
        if not raw:  # a tombstone
            return None
        try:
            return self._decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self.malformed += 1
            self._say("input_malformed", str(error))
            return None

    def _look_for_partitions(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s < self._look_at_s:
            return
        try:
            self._look(now_s)
        except KafkaException as error:
            self._look_at_s = now_s + LOOK_EVERY_S
            self._say("input_unreachable", str(error))

    def _look(self, now_s: float) -> None:
        topic = self._consumer.list_topics(self._topic, timeout=METADATA_S).topics.get(self._topic)
        found = frozenset(topic.partitions) if topic is not None and topic.error is None else frozenset()
        if not found:
            self._look_at_s = now_s + LOOK_EVERY_S
            self._say("input_topic_missing", f"{self._topic}: deploy the pipeline that writes it")
            return
        if found != self._assigned:
            since_ms = self._clock.now_ms() - BACK_S * 1_000
            asked = [TopicPartition(self._topic, number, since_ms) for number in sorted(found)]
            self._consumer.assign(self._consumer.offsets_for_times(asked, timeout=METADATA_S))
            self._assigned, self._said = found, ""
            _log.info("input_assigned", topic=self._topic, partitions=len(found))
        self._look_at_s = now_s + RELOOK_EVERY_S

    def _say(self, event: str, detail: Any) -> None:
        """Log a trouble once, not at every turn of the loop."""
        if event != self._said:
            self._said = event
            _log.warning(event, detail=detail)

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()
