"""When to start a crashed process again. Pure: facts and the time go in, a decision comes out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

HISTORY_LIMIT = 20  # crashes kept per process; at the longest back-off of 30 s that is 10 minutes
CALM_S = 60.0  # a process that ran this long is considered healthy: its next crash waits the shortest time again
LOOP_CRASHES = 5  # crashes in a row without a calm run that make a crash loop


class Crash(msgspec.Struct, frozen=True):
    """One unwanted end of a process. `exit_code` is negative for a signal, as in `subprocess`."""

    at_ms: int
    exit_code: int
    ran_ms: int
    backoff_ms: int


class Restart(msgspec.Struct, frozen=True):
    """Start again after `delay_ms`; `looping` asks the reader of the status to look at the log."""

    delay_ms: int
    streak: int
    looping: bool


def decide_restart(history: Sequence[Crash], *, ran_ms: int, initial_ms: int, max_ms: int) -> Restart:
    """Exponential back-off: `initial_ms`, doubled per crash in a row, at most `max_ms`.

    A crash is "in a row" when the run before it was shorter than `CALM_S`.

    Args:
        history: earlier crashes, oldest first.
        ran_ms: how long the process that just crashed had run.
        initial_ms: wait after the first crash.
        max_ms: longest wait.
    """
    streak = 1
    if ran_ms < CALM_S * 1000:
        for crash in reversed(history):
            streak += 1
            if crash.ran_ms >= CALM_S * 1000:
                break
    delay = min(max_ms, initial_ms * 2 ** min(streak - 1, 20))
    return Restart(delay, streak, streak >= LOOP_CRASHES)
