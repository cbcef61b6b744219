"""A backlog as a stopped job finds it: rows in Kafka that the gateway accepted while nobody read them.

Replayed players (the demo's `Crowd`) on a clock that is moved by hand, through the gateway's own intake (parse, clocks, enrich, encode), into the
ODS topic by its key. So every row is what the gateway writes, received at most 0.1 s after it was sent, in order of receiving, and minutes of
traffic are written in seconds. Posting bodies to the real gateway instead would stamp them with the time of posting: a body sent twice is late
the second time, and late rows cost the pipeline next to nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from confluent_kafka import Producer

from headrace.cli.demo.clips import ClipLibrary
from headrace.cli.demo.replay import Crowd
from headrace.core.home import Home
from headrace.core.rand import seeded
from headrace.ingest.budget import Budget
from headrace.ingest.intake import Batch, Intake, IntakeLimits
from headrace.ingest.ledger import Ledger
from headrace.ingest.references import References
from headrace.ingest.sink import Message
from headrace.testing.fakes import FakeClock

TICK_S = 0.1
BLOCKS = 6
STARTS_PER_TICK = 200
STREAM = "cmcd_raw"
CDNS = ("A", "B")
LIMITS = IntakeLimits(line_bytes_max=8192, inflated_bytes_max=4 << 20, batch_rows_max=5000, skew_limit_ms=600_000)


class TopicSink:
    """The gateway's sink without waiting for each batch; `close` waits for all."""

    stalled = False

    def __init__(self, kafka: str) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 20,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self.rows = 0
        self.failed = 0

    def send(self, topic: str, messages: list[Message]) -> asyncio.Future[int]:
        """Queue a batch; taken as written."""
        queued = self._producer.produce_batch(topic, messages) if messages else 0
        if queued < len(messages):
            self._producer.flush(60)
            queued += self._producer.produce_batch(topic, messages[queued:])
        self.rows += len(messages)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        done.set_result(len(messages) - queued)
        return done

    def ensure_topics(self, partitions: dict[str, int]) -> None:
        """The catalog has made them."""

    async def close(self, timeout_s: float) -> int:
        """Wait for what is in flight."""
        return int(self._producer.flush(timeout_s))


async def write_backlog(
    home: Home, *, kafka: str, recordings: Path, sessions: int, seconds: float, until_ms: int
) -> int:
    """Write what so many players sent in so many seconds before `until_ms`; returns the number of rows."""
    clock = FakeClock(until_ms - round(seconds * 1000))
    references = References(home.data)
    references.refresh()
    sink = TopicSink(kafka)
    intake = Intake(references, sink, Ledger(), budget=Budget(1 << 30, waiters_max=1), limits=LIMITS, clock=clock)
    stream = references.stream(STREAM)
    crowd = Crowd(ClipLibrary.load(recordings), seeded(1), size=sessions, tag=f"k{until_ms // 1000 % 1_000_000}")
    while clock.now_ms() < until_ms:
        now_ms = clock.now_ms()
        for session in crowd.fill(now_ms, at_most=STARTS_PER_TICK):
            crowd.steered(session, CDNS[len(session.sid + session.cid) % 2], ttl_s=3600.0, now_ms=now_ms)
        reports: list[list[str]] = [[] for _ in range(BLOCKS)]
        addresses = [""] * BLOCKS
        for session, wire in crowd.due(now_ms):
            block = int(session.sid.rsplit("-", 1)[1]) % BLOCKS
            reports[block].append(wire)
            addresses[block] = session.address
        for lines, address in zip(reports, addresses, strict=True):
            if lines:
                body = "\n".join(lines).encode()
                batch = Batch(
                    stream=stream,
                    body=body,
                    content_type="application/cmcd",
                    is_gzip=False,
                    address=address,
                    user_agent="Mozilla/5.0 Chrome/139.0",
                    held_bytes=len(body),
                )
                await intake.take(batch)
        clock.advance(TICK_S)
    left = await sink.close(60)
    if left:
        raise SystemExit(f"{left} rows were not written")
    return sink.rows
