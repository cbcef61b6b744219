"""The newest cells (`dws.cell_1s`) as they change: per second, region, ISP and CDN.

`CellBook` is the bounded memory: rows are upserts by key, so corrections replace and repeats change nothing. `CellReader` fills
it from the Kafka topic, from `history_s` ago on, without a consumer group: it commits nothing and disturbs nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from headrace.core.clock import Clock
from headrace.core.errors import Unavailable

TOPIC = "dws.cell_1s"
CELLS_MAX = 512  # (region, isp, cdn); 512 x 600 s x ~200 B = 60 MB at the very most
FUTURE_MAX_MS = 5_000
BATCH_MAX = 20_000  # rows per collect; a backlog of 10 min x 36 cells is 22,000
POLL_S = 0.05
CONNECT_S = 2.0


class CellRow(msgspec.Struct, frozen=True):
    """One row of `cell_1s`, as far as the board uses it; absent counters count as 0."""

    sec_ms: int
    region: str | None = None
    isp: str | None = None
    cdn: str | None = None
    sessions: int | None = None
    stalled: int | None = None
    seeking: int | None = None
    errors: int | None = None
    inflight_age_ms_max: int | None = None
    last_ts_ms: int | None = None


class Cell(msgspec.Struct, frozen=True):
    """One second of one CDN in one cell; `waiting` sessions rebuffer or jump back to the live edge."""

    sessions: int
    waiting: int
    errors: int
    inflight_age_ms: int | None


Key = tuple[str, str, str]


class CellBook:
    """Rows of the last `history_s` seconds by second and (region, isp, cdn)."""

    def __init__(self, *, history_s: int) -> None:
        self._history_ms = history_s * 1000
        self._keys: set[Key] = set()
        self.seconds: dict[int, dict[Key, Cell]] = {}
        self.refused = 0

    @property
    def newest_ms(self) -> int:
        """The newest second, 0 if there is none."""
        return max(self.seconds, default=0)

    def keys(self) -> set[Key]:
        """All (region, isp, cdn) that were heard of."""
        return set(self._keys)

    def add(self, row: CellRow, *, now_ms: int) -> bool:
        """Take a row; False if it is too old, too far ahead, without a CDN, or one cell too many."""
        key = (row.region or "", row.isp or "", row.cdn or "none")
        fits = key in self._keys or len(self._keys) < CELLS_MAX
        if not now_ms - self._history_ms <= row.sec_ms <= now_ms + FUTURE_MAX_MS or not fits or key[2] == "none":
            self.refused += 1
            return False
        self._keys.add(key)
        self.seconds.setdefault(row.sec_ms, {})[key] = _clean(row)
        return True

    def trim(self, *, now_ms: int) -> None:
        """Forget seconds that are too old."""
        for second in [second for second in self.seconds if second < now_ms - self._history_ms]:
            del self.seconds[second]


def _clean(row: CellRow) -> Cell:
    sessions = max(row.sessions or 0, 0)
    waiting = min(max(row.stalled or 0, 0) + max(row.seeking or 0, 0), sessions)
    return Cell(sessions, waiting, max(row.errors or 0, 0), row.inflight_age_ms_max)


class CellReader:
    """Collector over the topic; its value is the book itself, which grows between collects."""

    name = "cells"

    def __init__(self, endpoint: Callable[[], str], *, clock: Clock, history_s: int) -> None:
        self.book = CellBook(history_s=history_s)
        self._endpoint = endpoint
        self._clock = clock
        self._history_s = history_s
        self._consumer: Consumer | None = None
        self._decoder = msgspec.json.Decoder(CellRow)

    def collect(self) -> CellBook:
        """Read what has arrived since the last time.

        Raises:
            Unavailable: the broker does not answer, or the topic does not exist yet.
        """
        consumer = self._consumer or self._open()
        now_ms = self._clock.now_ms()
        self._take(consumer.consume(BATCH_MAX, POLL_S), now_ms)
        self.book.trim(now_ms=now_ms)
        return self.book

    def close(self) -> None:
        """Leave the broker."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _take(self, messages: Iterable[object], now_ms: int) -> None:
        for message in messages:
            error = message.error()  # type: ignore[attr-defined]
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    continue
                raise Unavailable(f"cells cannot be read: {error.str()}", operation="cells.read")
            value = message.value()  # type: ignore[attr-defined]
            if value is None:  # a key that was deleted: its second is gone, which the trim does anyway
                continue
            try:
                self.book.add(self._decoder.decode(value), now_ms=now_ms)
            except msgspec.MsgspecError:
                self.book.refused += 1

    def _open(self) -> Consumer:
        consumer = Consumer(
            {
                "bootstrap.servers": self._endpoint(),
                "group.id": "headrace-console",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
                "socket.connection.setup.timeout.ms": 2000,
                "log_level": 0,
            }
        )
        try:
            consumer.assign(self._starts(consumer))
        except KafkaException as error:
            consumer.close()
            raise Unavailable(f"broker does not answer: {error.args[0].str()}", operation="cells.open") from error
        except BaseException:
            consumer.close()
            raise
        self._consumer = consumer
        return consumer

    def _starts(self, consumer: Consumer) -> list[TopicPartition]:
        found = consumer.list_topics(TOPIC, timeout=CONNECT_S).topics[TOPIC]
        if found.error is not None or not found.partitions:
            raise Unavailable("topic does not exist yet", context={"topic": TOPIC}, hint="`headrace table apply`")
        since_ms = self._clock.now_ms() - self._history_s * 1000
        wanted = [TopicPartition(TOPIC, partition, since_ms) for partition in found.partitions]
        return list(consumer.offsets_for_times(wanted, timeout=CONNECT_S))
