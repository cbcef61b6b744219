"""A stateful exactly-once job from Kafka to Kafka, and the books that show what a failure cost it.

The producer numbers its records and writes each key in turn at a steady rate. The job counts every key with keyed state and
writes one row per record through a transactional sink. Two consumers read what comes out: one all records at once, which shows
when data flows, one only what is committed, whose books must balance: each number once, and each key's counts 1, 2, 3, ….
"""

from __future__ import annotations

import base64
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from headrace.connectors.kafka import CLIENT, PATIENT_SINK, PATIENT_SOURCE, TRANSACTION
from headrace.core.clock import Clock
from headrace.core.errors import Unavailable
from headrace.core.rand import seeded
from headrace.flink.protocol import Script, Submit, TableDef

KEYS = 64
PARTITIONS = 4
INPUT, OUTPUT = "lab-in", "lab-out"
POLL_S = 0.05
FRESH_MS, BOOKED_MS = (
    20,
    500,
)  # how late a row may be read: times are taken of the one kind, and only books kept of the other
FILL_SEED = 2
DRAIN_S = 90.0
RECENT_S = 120  # seconds of arrivals kept for timelines
_SOURCE = """CREATE TABLE lab_in (id BIGINT, k INT, at_ms BIGINT, pt AS PROCTIME()) WITH ('connector' = 'kafka')"""
_SINK = """CREATE TABLE lab_out (id BIGINT, k INT, n BIGINT, at_ms BIGINT) WITH ('connector' = 'kafka')"""
# The greatest of all values of a key is state of a key; what it is decides on nothing, but has to be known for a row's `size`.
_STATE_SOURCE = """CREATE TABLE lab_in (id BIGINT, k INT, at_ms BIGINT, pad STRING, pt AS PROCTIME()) WITH ('connector' = 'kafka')"""
_STATE_SINK = (
    """CREATE TABLE lab_out (id BIGINT, k INT, n BIGINT, at_ms BIGINT, size INT) WITH ('connector' = 'kafka')"""
)
_STATE_SCRIPT = """INSERT INTO lab_out SELECT id, k, n, at_ms, CHAR_LENGTH(largest) FROM (
  SELECT id, k, at_ms, COUNT(*) OVER w AS n, MAX(pad) OVER w AS largest FROM lab_in
  WINDOW w AS (PARTITION BY k ORDER BY pt ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)) WHERE id >= 0"""
PAD_BYTES = 1024  # of a key's state, in a workload with much of it
_SCRIPT = """INSERT INTO lab_out SELECT id, k, COUNT(*) OVER (
  PARTITION BY k ORDER BY pt ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW), at_ms FROM lab_in"""


Arrival = tuple[int, int, int]  # (arrived ms, produced ms, key), in the order of arrival


class Row(msgspec.Struct):
    """A record of the output."""

    id: int
    k: int
    n: int
    at_ms: int


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """The balance: all of it 0 but `produced` when every record was counted once."""

    produced: int
    lost: int
    doubled: int
    miscounted: int


class Workload:
    """Producer, job and consumers of one run."""

    def __init__(self, kafka: str, *, rate_per_s: int, clock: Clock, state_bytes: int = 0) -> None:
        self._kafka = kafka
        self._rate = rate_per_s
        self._state_bytes = state_bytes
        self._clock = clock
        self._stop_producing = threading.Event()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._produced = 0
        self._committed: Counter[int] = Counter()
        self._counts: dict[int, list[int]] = {key: [] for key in range(KEYS)}
        self._arrivals: list[Arrival] = []  # uncommitted reads
        self._watched_ms = 0  # since when gaps count
        self._dropped_to_ms = 0  # newest row that was dropped from the arrivals
        self._dropped_gap_ms = 0  # the longest time without a row among those that were dropped

    def prepare(self) -> None:
        """Make the topics."""
        admin = AdminClient({"bootstrap.servers": self._kafka})
        for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in (INPUT, OUTPUT)]).values():
            future.result(30)
        self._fill()

    def _fill(self) -> None:
        """Write what the job will hold besides its counts: a record of a key of its own for each `PAD_BYTES`, negative numbers, of which no row comes out."""
        producer = Producer({"bootstrap.servers": self._kafka, "linger.ms": 50, "enable.idempotence": True})
        random = seeded(FILL_SEED)
        for number in range(self._state_bytes // PAD_BYTES):
            key = KEYS + number
            pad = base64.b64encode(random.randbytes(PAD_BYTES * 3 // 4)).decode("ascii")
            value = msgspec.json.encode({"id": -1 - number, "k": key, "at_ms": 0, "pad": pad})
            while True:
                try:
                    producer.produce(INPUT, value, partition=key % PARTITIONS)
                    break
                except BufferError:
                    producer.poll(POLL_S)
        _flush(producer)

    def submit_request(self, cluster: str, *, parallelism: int, config: dict[str, str], run: str) -> Submit:
        """The job as a request to the driver."""
        kafka = {"connector": "kafka", "properties.bootstrap.servers": self._kafka, "format": "json", **CLIENT}
        source = {
            **kafka,
            "topic": INPUT,
            "scan.startup.mode": "earliest-offset",
            "properties.group.id": "lab",
            **PATIENT_SOURCE,
        }
        sink = {
            **kafka,
            "topic": OUTPUT,
            "sink.delivery-guarantee": "exactly-once",
            "sink.transactional-id-prefix": f"lab-{run}",
            **PATIENT_SINK,
            **TRANSACTION,
        }
        tables = (
            TableDef(name="lab_in", ddl=_STATE_SOURCE if self._state_bytes else _SOURCE, options=source),
            TableDef(name="lab_out", ddl=_STATE_SINK if self._state_bytes else _SINK, options=sink),
        )
        return Submit(
            script=Script(_STATE_SCRIPT if self._state_bytes else _SCRIPT),
            tables=tables,
            config={**config, "parallelism.default": str(parallelism)},
            job_name="lab",
            cluster=cluster,
        )

    def start(self) -> None:
        """Begin to produce and to read."""
        readers: list[tuple[str, Callable[[], None]]] = [
            ("produce", self._produce),
            ("read", lambda: self._read("read_uncommitted", self._arrived, wait_ms=FRESH_MS)),
            ("read-committed", lambda: self._read("read_committed", self._book, wait_ms=BOOKED_MS)),
        ]
        self._threads = [threading.Thread(target=run, name=f"lab-{name}", daemon=True) for name, run in readers]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all threads."""
        self._stop_producing.set()
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def flowing_at_ms(self, since_ms: int, *, arrived_from_ms: int = 0) -> int | None:
        """When every key had produced output of records that were written after `since_ms`; None while some has not.

        Output before `arrived_from_ms` does not count.
        """
        first: dict[int, int] = {}
        for arrived_ms, at_ms, key in self._arrived_from(max(since_ms, arrived_from_ms)):
            if at_ms >= since_ms and key not in first:
                first[key] = arrived_ms
        return max(first.values()) if len(first) == KEYS else None

    def caught_up_at_ms(self, since_ms: int, *, delay_ms: int) -> int | None:
        """When output was at most `delay_ms` old again for a second, after `since_ms`; None while it is not."""
        start: int | None = None
        for arrived_ms, at_ms, _ in self._arrived_from(since_ms):
            if arrived_ms - at_ms > delay_ms:
                start = None
            elif start is None:
                start = arrived_ms
            elif arrived_ms - start >= 1000:
                return start
        return None

    def _arrived_from(self, since_ms: int) -> list[Arrival]:
        """What came from then on; asked ten times a second while a job recovers, on the cores that it recovers on, so that not all that is kept may be looked at."""
        with self._lock:
            return self._arrivals[bisect_left(self._arrivals, (since_ms,)) :]

    def longest_gap_ms(self, since_ms: int) -> int:
        """The longest stretch since then in which no row at all came out, up to the newest row.

        Rows are kept for a while (`RECENT_S`); what lies before that counts if `watch_gaps` was called by then.
        """
        with self._lock:
            kept = longest_gap_ms((row[0] for row in self._arrivals), max(since_ms, self._dropped_to_ms))
            return max(kept, self._dropped_gap_ms) if since_ms < self._dropped_to_ms else kept

    def watch_gaps(self, since_ms: int) -> None:
        """From now on gaps after `since_ms` count, and none before."""
        with self._lock:
            self._watched_ms, self._dropped_gap_ms = since_ms, 0

    def balance(self) -> Books:
        """Stop producing, wait until all has come out committed, and count."""
        self._stop_producing.set()
        self._threads[0].join(20)
        deadline = self._clock.monotonic_s() + DRAIN_S
        while len(self._committed) < self._produced and self._clock.monotonic_s() < deadline:
            self._clock.sleep(POLL_S)
        with self._lock:
            return Books(
                produced=self._produced,
                lost=self._produced - len(self._committed),
                doubled=sum(count - 1 for count in self._committed.values()),
                miscounted=sum(sorted(counts) != list(range(1, len(counts) + 1)) for counts in self._counts.values()),
            )

    def _produce(self) -> None:
        producer = Producer({"bootstrap.servers": self._kafka, "linger.ms": 5, "enable.idempotence": True})
        begun_s = self._clock.monotonic_s()
        while not self._stop_producing.is_set():
            due = int((self._clock.monotonic_s() - begun_s) * self._rate)
            for number in range(self._produced, due):
                key = number % KEYS
                value = msgspec.json.encode({"id": number, "k": key, "at_ms": self._clock.now_ms()})
                producer.produce(INPUT, value, partition=key % PARTITIONS)
                self._produced = number + 1
            producer.poll(0)
            self._clock.sleep(0.01)
        _flush(producer)

    def _read(self, isolation: str, take: Callable[[Row, int], None], *, wait_ms: int) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._kafka,
                "group.id": f"lab-{isolation}",
                "isolation.level": isolation,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": wait_ms,
            }
        )
        consumer.subscribe([OUTPUT])
        decoder = msgspec.json.Decoder(Row)
        while not self._stop.is_set():
            for message in consumer.consume(500, POLL_S):
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._ALL_BROKERS_DOWN or error.retriable():
                        continue
                    raise KafkaException(error)
                take(decoder.decode(message.value() or b""), self._clock.now_ms())
        consumer.close()

    def _arrived(self, row: Row, now_ms: int) -> None:
        with self._lock:
            self._arrivals.append((now_ms, row.at_ms, row.k))
            if len(self._arrivals) > 2 * RECENT_S * self._rate:
                gone = self._arrivals[: RECENT_S * self._rate]
                begun_ms = max(self._dropped_to_ms, self._watched_ms or gone[0][0])
                self._dropped_gap_ms = max(self._dropped_gap_ms, longest_gap_ms((row[0] for row in gone), begun_ms))
                self._dropped_to_ms = gone[-1][0]
                del self._arrivals[: len(gone)]

    def _book(self, row: Row, _: int) -> None:
        with self._lock:
            self._committed[row.id] += 1
            self._counts[row.k].append(row.n)


def _flush(producer: Producer) -> None:
    left = producer.flush(30)
    if left:
        raise Unavailable("records of the lab were not acknowledged", context={"count": left})


def longest_gap_ms(arrivals_ms: Iterable[int], since_ms: int) -> int:
    """The longest time between two arrivals, ascending, or between `since_ms` and the first after it; 0 when nothing came."""
    longest, before = 0, since_ms
    for at_ms in arrivals_ms:
        if at_ms >= since_ms:
            longest, before = max(longest, at_ms - before), at_ms
    return longest
