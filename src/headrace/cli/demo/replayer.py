"""The edge of the replay: drive a `Crowd` against the real gateway and the real steering service.

Every `TICK_MS` it starts sessions, polls steering for those whose time has come, and posts what is due, grouped by client
address block, because the gateway takes a client's region from X-Forwarded-For. A batch that was not acknowledged (5xx, no
connection) is sent again as it is, before younger ones of its group: at least once, as players do. 410 silences the sessions
that the answer names, as the standard's reporter would.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TypeVar

import msgspec

from headrace.cli.demo.lanes import LanePool
from headrace.cli.demo.replay import Crowd, Session
from headrace.core.clock import Clock
from headrace.core.errors import Unavailable
from headrace.core.log import get_logger

TICK_MS = 100
BATCH_MAX = 50
STARTS_PER_TICK = 40  # 400 sessions/s while filling: a full crowd of 2,000 after 5 s, no thundering start
QUEUE_BATCHES_MAX = (
    2_000  # 100,000 reports, 20 s at 5,000/s, before the oldest are counted as lost by the replay itself
)
BLOCKS = 6
# Requests in flight a block: 6 x 4 x 50 reports, 12,000/s even when an acknowledgement takes 100 ms.
LANES_PER_BLOCK = 4
ORDER_TIMEOUT_S = 30.0

T = TypeVar("T")

log = get_logger("headrace.demo.replayer")


class SteeringAnswer(msgspec.Struct, rename={"ttl": "TTL", "priority": "PATHWAY-PRIORITY"}):
    """What a player reads of a steering manifest."""

    ttl: float
    priority: list[str]


@dataclass
class ReplayCounts:
    """Counters of the replay's own side; `sent` are reports the gateway acknowledged with 2xx."""

    sent: int = 0
    resent: int = 0
    shed: int = 0
    dropped: int = 0
    polls: int = 0
    polls_failed: int = 0
    shares: list[tuple[int, dict[str, float]]] = field(default_factory=list)


class Replayer:
    """Runs until `stop`; `crowd` may be told of faults while it runs."""

    def __init__(self, crowd: Crowd, *, gateway: str, steering: str, stream: str, clock: Clock) -> None:
        self.crowd = crowd
        self.counts = ReplayCounts()
        self._clock = clock
        self._stream = stream
        self._gateway = LanePool(gateway, size=LANES_PER_BLOCK * BLOCKS)
        self._steering = LanePool(steering, size=16)
        self._queues: list[deque[list[tuple[str, str]]]] = [deque() for _ in range(BLOCKS)]
        self._address = [""] * BLOCKS
        self._running = True
        self._orders: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def do(self, action: Callable[[Crowd], T]) -> T:
        """Run `action` on the crowd between two ticks, from another thread, and return what it returned."""
        future: Future[T] = Future()
        self._orders.put(lambda: future.set_result(action(self.crowd)))
        return future.result(ORDER_TIMEOUT_S)

    def stop(self) -> None:
        """End after the running tick."""
        self._running = False

    async def run(self) -> None:
        """Tick until stopped, then deliver what is queued and close."""
        senders = [
            asyncio.create_task(self._send_block(block)) for block in range(BLOCKS) for _ in range(LANES_PER_BLOCK)
        ]
        pollers: set[asyncio.Task[None]] = set()
        while self._running:
            now_ms = self._clock.now_ms()
            while not self._orders.empty():
                self._orders.get()()
            self.crowd.fill(now_ms, at_most=STARTS_PER_TICK)
            for session in self.crowd.polls_due(now_ms):
                task = asyncio.create_task(self._poll(session))
                pollers.add(task)
                task.add_done_callback(pollers.discard)
            self._collect(now_ms)
            self.counts.shares.append((now_ms, dict(self.crowd.shares())))
            await self._clock.sleep_async(max(0.0, (now_ms + TICK_MS - self._clock.now_ms()) / 1000))
        await asyncio.gather(*senders, *pollers)
        await self._gateway.close()
        await self._steering.close()

    def _collect(self, now_ms: int) -> None:
        fresh: list[list[tuple[str, str]]] = [[] for _ in range(BLOCKS)]
        for session, wire in self.crowd.due(now_ms):
            block = int(session.sid.rsplit("-", 1)[1]) % BLOCKS
            fresh[block].append((session.sid, wire))
            self._address[block] = session.address
        for block, reports in enumerate(fresh):
            queue = self._queues[block]
            queue.extend(reports[start : start + BATCH_MAX] for start in range(0, len(reports), BATCH_MAX))
            while len(queue) > QUEUE_BATCHES_MAX:
                self.counts.dropped += len(queue.popleft())

    async def _send_block(self, block: int) -> None:
        queue = self._queues[block]
        while self._running or queue:
            if not queue:
                await self._clock.sleep_async(TICK_MS / 2000)
                continue
            batch = queue.popleft()
            if not await self._post(batch, self._address[block]):
                queue.appendleft(batch)
                self.counts.resent += len(batch)
                await self._clock.sleep_async(0.5)

    async def _post(self, batch: list[tuple[str, str]], address: str) -> bool:
        body = "\n".join(wire for _, wire in batch).encode()
        headers = {"Content-Type": "application/cmcd", "X-Forwarded-For": address}
        try:
            status, _ = await self._gateway.request("POST", f"/v1/beacons/{self._stream}", headers=headers, body=body)
        except Unavailable as error:
            log.debug("batch_not_acknowledged", error=str(error))
            return False
        if status == 410:
            self.counts.shed += len(batch)
            return True
        if 200 <= status < 300:
            self.counts.sent += len(batch)
            return True
        return False

    async def _poll(self, session: Session) -> None:
        target = (
            f"/v1/steering/live-quality?sid={session.sid}&_HLS_pathway={session.cdn or 'A'}&_HLS_throughput=5000000"
        )
        self.counts.polls += 1
        try:
            status, body = await self._steering.request("GET", target, headers={"X-Forwarded-For": session.address})
            if status != 200:
                raise Unavailable(f"steering answered {status}")
            answer = msgspec.json.decode(body, type=SteeringAnswer)
            cdn, ttl = answer.priority[0], answer.ttl
        except (Unavailable, msgspec.MsgspecError, IndexError):
            self.counts.polls_failed += 1
            cdn, ttl = session.cdn or "A", 5.0
        self.crowd.steered(session, cdn, ttl_s=ttl, now_ms=self._clock.now_ms())
