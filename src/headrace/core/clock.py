"""The clock seam: logic takes a `Clock`, only this module reads the operating system's.

`FakeClock` (headrace.testing) moves by hand. Wall time is in ms since the epoch, as in every event of the platform;
durations are `timedelta` or carry their unit in the name.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Reads and waits for time."""

    def now_ms(self) -> int:
        """Wall time in ms since the epoch."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go backwards, for durations and time-outs."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block this thread."""
        ...

    async def sleep_async(self, seconds: float) -> None:
        """Suspend this task."""
        ...


class SystemClock:
    """The real clock."""

    def now_ms(self) -> int:
        """Wall time in ms since the epoch."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block this thread."""
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Suspend this task."""
        await asyncio.sleep(seconds)


class BootClock(SystemClock):
    """A real clock whose durations include the time that the machine was suspended, for leases."""

    def monotonic_s(self) -> float:
        """Seconds since boot."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
