"""CPU and memory of whole sessions, from one pass over /proc for all processes of the stack.

A driver and the JVM it started count as one process: both carry the driver's pid as session id.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from headrace.core.clock import Clock
from headrace.stack.orphans import read_stats

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Usage(msgspec.Struct, frozen=True):
    """CPU since the last measurement in percent of one core, and resident memory."""

    cpu_percent: float = 0.0
    rss_bytes: int = 0


class UsageMeter:
    """Remembers the last CPU times, so that a measurement can tell what was used since."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at_s = clock.monotonic_s()
        self._ticks: dict[int, int] = {}

    def measure(self, leaders: Iterable[int]) -> dict[int, Usage]:
        """Usage of each leader's session; 0 % at the first sight of one."""
        wanted = set(leaders)
        ticks, pages = dict.fromkeys(wanted, 0), dict.fromkeys(wanted, 0)
        for stat in read_stats():
            if stat.session in wanted:
                ticks[stat.session] += stat.cpu_ticks
                pages[stat.session] += stat.rss_pages
        now_s = self._clock.monotonic_s()
        elapsed_s, before = max(now_s - self._at_s, 0.001), self._ticks
        self._at_s, self._ticks = now_s, ticks
        return {
            pid: Usage(
                round(max(0, ticks[pid] - before.get(pid, ticks[pid])) / _TICKS_PER_S / elapsed_s * 100, 1),
                pages[pid] * _PAGE_BYTES,
            )
            for pid in wanted
        }
