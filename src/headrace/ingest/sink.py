"""Where accepted rows go: Kafka, with one counter for each batch instead of one future for each message.

`send` hands a batch to librdkafka in one call; the returned future is done when every message of the batch was acknowledged or
has failed, and holds how many failed. The producer is idempotent with acks=all, so a retry inside librdkafka neither loses nor doubles; a message that
times out may or may not be in the topic, and counts as failed (the player sends it again; readers drop doubles by (sid, sn)).

Delivery reports are served by `poll(0)` on the event loop's own thread, every `POLL_S` while messages are in flight. A thread of its
own would fight the loop for the interpreter lock once per message (measured with bench/gateway.py). The key's partition is
Java's (murmur2 of the key), so that other producers of the table agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.core.clock import Clock
from headrace.core.log import get_logger

POLL_S = 0.002  # adds at most 2 ms to an ack, and costs 500 calls/s of about 3 us
STALL_S = (
    2.0  # without any ack for this long while messages wait, Kafka is taken to be down; a leader election takes less
)
MESSAGE_OVERHEAD_BYTES = (
    300  # of one queued message: librdkafka's own, the dict and the key (sizes read off RSS, bench/gateway.py)
)
_TOPIC_TIMEOUT_S = 10.0
_IDLE_POLL_S = 0.5  # without messages in flight, for the client's errors and logs
_LIBRARY_LOG = "headrace.ingest.librdkafka"

_log = get_logger("headrace.ingest.sink")
Message = dict[str, Any]  # {"value": bytes, "key": str}; librdkafka's binding takes plain dicts


class Sink(Protocol):
    """Takes batches of messages and says later how many of them failed."""

    def send(self, topic: str, messages: list[Message]) -> asyncio.Future[int]:
        """Queue a batch; the future gives the number of messages that were not acknowledged."""
        ...

    @property
    def stalled(self) -> bool:
        """Whether messages wait and nothing has been acknowledged for `STALL_S`."""
        ...

    def ensure_topics(self, partitions: dict[str, int]) -> None:
        """Create those of the topics that do not exist; returns at once."""
        ...

    async def close(self, timeout_s: float) -> int:
        """Wait for what is in flight; gives the number of messages left behind."""
        ...


class _Batch:
    """Counts the delivery reports of one batch."""

    __slots__ = ("_failed", "_future", "_left", "_sink")

    def __init__(self, sink: KafkaSink, count: int, future: asyncio.Future[int]) -> None:
        self._sink, self._left, self._failed, self._future = sink, count, 0, future

    def on_delivery(self, error: KafkaError | None, message: Any) -> None:
        """One message was acknowledged or has failed."""
        self._sink.in_flight -= 1
        if error is not None:
            self._failed += 1
            self._sink.note_failure(error)
        else:
            self._sink.acknowledged += 1
            self._sink.down = False
        self._left -= 1
        if self._left == 0:
            self._finish()

    def drop(self, count: int) -> None:
        """Messages that librdkafka did not take."""
        self._sink.in_flight -= count
        self._failed += count
        self._left -= count
        if self._left == 0:
            self._finish()

    def _finish(self) -> None:
        if not self._future.done():
            self._future.set_result(self._failed)


class KafkaSink:
    """The sink that is a Kafka cluster; lives on one event loop."""

    def __init__(self, config: dict[str, Any], *, clock: Clock) -> None:
        self._clock = clock
        self._config = config
        self._producer = Producer({**config, "error_cb": self._on_error, "logger": logging.getLogger(_LIBRARY_LOG)})
        self.in_flight = 0
        self.acknowledged = 0
        self.last_error = ""
        self.fatal = False
        self.down = False
        self._topics: set[str] = set()
        self._admin: AdminClient | None = None
        self._progress: tuple[int, float] = (0, clock.monotonic_s())
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve delivery reports."""
        self._pump = asyncio.get_running_loop().create_task(self._serve(), name="kafka-pump")

    def send(self, topic: str, messages: list[Message]) -> asyncio.Future[int]:
        """Queue a batch; the future gives the number of messages that were not acknowledged."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if not messages:
            future.set_result(0)
            return future
        if self.in_flight == 0:
            self._progress = (self.acknowledged, self._clock.monotonic_s())
        batch = _Batch(self, len(messages), future)
        self.in_flight += len(messages)
        try:
            queued = self._producer.produce_batch(topic, messages, on_delivery=batch.on_delivery)
        except (BufferError, KafkaException) as error:
            self.last_error = str(error)
            queued = 0  # a full queue is no exception here but a smaller count; this is a producer that takes nothing
        if queued < len(messages):
            batch.drop(len(messages) - queued)
        self._wake.set()
        return future

    @property
    def stalled(self) -> bool:
        """Whether messages wait and nothing has been acknowledged for `STALL_S`.

        Once messages have timed out, one batch at a time is let through to find out whether Kafka is back; all others are told at
        once instead of waiting for the time-out too.
        """
        if self.down:
            return self.in_flight > 0
        acknowledged, since_s = self._progress
        if not self.in_flight or acknowledged != self.acknowledged:
            self._progress = (self.acknowledged, self._clock.monotonic_s())
            return False
        return self._clock.monotonic_s() - since_s > STALL_S

    def ensure_topics(self, partitions: dict[str, int]) -> None:
        """Create those of the topics that do not exist; returns at once. Topics seen before cost nothing."""
        partitions = {name: count for name, count in partitions.items() if name not in self._topics}
        if not partitions:
            return
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self._config["bootstrap.servers"]})
        topics = [NewTopic(name, num_partitions=count) for name, count in partitions.items()]
        for name, future in self._admin.create_topics(topics, request_timeout=_TOPIC_TIMEOUT_S).items():
            future.add_done_callback(partial(self._report_topic, name))

    async def close(self, timeout_s: float) -> int:
        """Wait for what is in flight; gives the number of messages left behind."""
        deadline_s = self._clock.monotonic_s() + timeout_s
        while self.in_flight and self._clock.monotonic_s() < deadline_s:
            await asyncio.sleep(POLL_S)
        if self._pump is not None:
            self._pump.cancel()
        return self.in_flight

    async def _serve(self) -> None:
        while True:
            self._producer.poll(0)
            if self.in_flight:
                await asyncio.sleep(POLL_S)
                continue
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _IDLE_POLL_S)

    def note_failure(self, error: KafkaError) -> None:
        """A message that was not acknowledged."""
        self.last_error = str(error)
        self.down = self.down or error.code() == KafkaError._MSG_TIMED_OUT

    def _on_error(self, error: KafkaError) -> None:
        self.last_error = str(error)
        self.fatal = self.fatal or error.fatal()
        _log.warning("kafka_error", error=str(error), fatal=error.fatal())

    def _report_topic(self, name: str, done: Future[None]) -> None:
        """Called on the admin client's own thread (which must not be the one to end the client)."""
        error = done.exception()
        if error is None or "TOPIC_ALREADY_EXISTS" in str(error):
            self._topics.add(name)
        if error is None:
            _log.info("topic_created", topic=name)
        elif name not in self._topics:
            _log.warning("topic_not_created", topic=name, error=str(error))
