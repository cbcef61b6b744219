"""What the page "Failures" is sent: one timeline a failure. Times are wall ms; None means that nobody recorded the moment."""

from __future__ import annotations

import msgspec

from headrace.console.live_model import Reach

MOMENTS = ("fault", "suspect", "verdict", "told", "restarting", "running", "flowing", "caught_up")


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One failure, in the order of its moments.

    Args:
        id: names it among all.
        source: `recorded` by the failure lab, `observed` by Hawk on this cluster.
        what: the fault that was injected, or the class of the verdict.
        host: where.
        process: the TaskManager, when only it was lost.
        moments: name of `MOMENTS` → wall ms, those that are known; the first is when it began.
        restarts: of the job.
        lost: records that never came out, in all of the run so far.
        doubled: records that came out twice.
        verdicts: hosts, or host/process, that were convicted.
        votes: observers that voted for it.
        note: what else is to be said: why Flink was not told, for how long the host gets no work, what went wrong with a recording.
    """

    id: str
    source: str
    what: str
    host: str
    process: str = ""
    moments: dict[str, int]
    restarts: int | None = None
    lost: int | None = None
    doubled: int | None = None
    verdicts: tuple[str, ...] = ()
    votes: tuple[str, ...] = ()
    note: str = ""

    @property
    def at_ms(self) -> int:
        """When it began, as far as that is known."""
        return min(self.moments.values())


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known, newest first.

    Args:
        at_ms: now.
        failures: at most FAILURES_MAX.
        passed: suspicions that ended without a verdict, since the event log begins.
        exposed: nodes whose loss would leave tasks without a slot.
        held: hosts whose verdict the brake holds now.
        dependencies_down: what most hosts cannot reach now.
        unreachable: host → what it cannot reach now.
        sources: whether the logs could be read.
    """

    at_ms: int = 0
    failures: list[Failure] = []
    passed: int = 0
    exposed: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    dependencies_down: tuple[str, ...] = ()
    unreachable: dict[str, tuple[str, ...]] = {}
    sources: list[Reach] = []


class FailuresTick(msgspec.Struct, frozen=True):
    """Event `failures`: all of them now, None before they were looked for."""

    state: Failures | None
