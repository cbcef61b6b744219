"""Sampling one source of the console's data, apart from all others.

A `Collector` asks one store and blocks while it does; a `Sampler` calls it about every `period_s` in a thread of its own pool,
keeps the last good value and says since when the source answers or does not. Whatever a collector raises ends there: the
page goes on with the other sources. A call that hangs is waited for no longer than `timeout_s`; no second call of the
same collector starts before it has ended, so a hanging store costs one thread and nothing else.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Generic, Protocol, TypeVar

from headrace.console.live_model import Reach
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError
from headrace.core.log import get_logger

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
log = get_logger("headrace.console.sampler")
ERROR_LENGTH_MAX = 240


class Collector(Protocol[T_co]):
    """Asks one source; blocking, called from one thread at a time."""

    name: str

    def collect(self) -> T_co:
        """Ask the source now; raises whatever it likes."""
        ...

    def close(self) -> None:
        """Release connections; the next `collect` opens them again."""
        ...


class Sampler(Generic[T]):
    """The last good value of a collector, and whether its source answers."""

    def __init__(self, collector: Collector[T], *, clock: Clock, period_s: float = 1.0, timeout_s: float = 3.0) -> None:
        self.collector = collector
        self.value: T | None = None
        self.taken = 0
        self.reach = Reach(name=collector.name, state="waiting", since_ms=clock.now_ms())
        self._clock = clock
        self._period_s = period_s
        self._timeout_s = timeout_s
        self._running: asyncio.Future[T] | None = None

    async def run(self, pool: Executor) -> None:
        """Sample until cancelled."""
        while True:
            began_s = self._clock.monotonic_s()
            await self.sample(pool)
            passed_s = self._clock.monotonic_s() - began_s
            await self._clock.sleep_async(max(self._period_s - passed_s, self._period_s / 10))

    async def sample(self, pool: Executor) -> None:
        """Ask once, or go on waiting for a call that hangs."""
        if self._running is None:
            self._running = asyncio.get_running_loop().run_in_executor(pool, self.collector.collect)
        done, _ = await asyncio.wait({self._running}, timeout=self._timeout_s)
        if not done:
            self._fail(f"no answer within {self._timeout_s:g} s")
            return
        running, self._running = self._running, None
        error = running.exception()
        if error is None:
            self._succeed(running.result())
        else:
            self._fail(_sentence(error))
            self.collector.close()

    def _succeed(self, value: T) -> None:
        now_ms = self._clock.now_ms()
        self.value = value
        self.taken += 1
        since_ms = self.reach.since_ms if self.reach.state == "ok" else now_ms
        if self.reach.state == "unreachable":
            log.info("source_answers_again", source=self.collector.name, gone_ms=now_ms - self.reach.since_ms)
        self.reach = Reach(name=self.collector.name, state="ok", since_ms=since_ms, last_ok_ms=now_ms)

    def _fail(self, error: str) -> None:
        now_ms = self._clock.now_ms()
        first = self.reach.state != "unreachable"
        since_ms = now_ms if first else self.reach.since_ms
        last_ok_ms = self.reach.last_ok_ms
        if first:
            log.warning("source_unreachable", source=self.collector.name, error=error)
        self.reach = Reach(
            name=self.collector.name, state="unreachable", since_ms=since_ms, last_ok_ms=last_ok_ms, error=error
        )


def _sentence(error: BaseException) -> str:
    text = error.message if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
    return text.splitlines()[0][:ERROR_LENGTH_MAX] if text else type(error).__name__
