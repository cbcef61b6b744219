"""Failures: timelines that the lab recorded in this home, Hawk's event logs, and when jobs failed and ran again.

    <home>/run/timelines.jsonl   one JSON object an injection
    <home>/run/*.events          of observers and of the local stack's Hawk, one JSON object an event

Logs are read on from where the last round ended; one that was rotated is read from its beginning. Flink is asked only while a failure is
young and its jobs do not all run again, so a quiet cluster costs two looks at a folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from headrace.console.failure_model import Failure, Failures
from headrace.console.failures import Observed, fold, newest, render_timeline, with_restarts
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError
from headrace.core.home import Home
from headrace.core.log import get_logger
from headrace.flink.rest import FlinkRest
from headrace.guard.hawk.events import HawkEvent
from headrace.guard.lab.timeline import TIMELINES_FILE, Timeline

T = TypeVar("T")
log = get_logger("headrace.console.failures")
EVENTS = "*.events"
LOGS_MAX = 8  # three observers, the local one, and room
ROUND_BYTES = 4 << 20  # of one log a round: some 25,000 events
YOUNG_MS = 120_000  # after a verdict, while jobs are asked whether they run again


class FailureCollector:
    """Reads what was recorded of failures; `wanted` is set by the hub, as nothing is read while no page shows it."""

    name = "failures"

    def __init__(
        self,
        home: Home,
        endpoint: Callable[[], str],
        *,
        clock: Clock,
        connect: Callable[[str], FlinkRest] | None = None,
    ) -> None:
        self.wanted = False
        self._folder = home.run
        self._endpoint = endpoint
        self._clock = clock
        self._connect = connect or (lambda url: FlinkRest(url, clock))
        self._rest: FlinkRest | None = None
        self._observed = Observed()
        self._read: dict[Path, tuple[int, int]] = {}  # log → (inode, bytes read)
        self._recorded: tuple[tuple[int, int], list[Failure]] = ((0, 0), [])
        self._restarted: dict[str, Failure] = {}

    def collect(self) -> Failures | None:
        """All failures; None while no page asked for them."""
        if not self.wanted:
            return None
        events = [event for path in sorted(self._folder.glob(EVENTS))[:LOGS_MAX] for event in self._read_on(path)]
        self._observed = fold(self._observed, sorted(events, key=lambda event: event.at_ms))
        now_ms = self._clock.now_ms()
        observed = [self._with_jobs(failure, now_ms) for failure in self._observed.failures]
        self._restarted = {one.id: one for one in observed if one.id in self._restarted}
        return Failures(
            at_ms=now_ms,
            failures=newest(self._timelines(), observed),
            passed=self._observed.passed,
            exposed=self._observed.exposed,
            held=self._observed.held,
            dependencies_down=self._observed.dependencies_down,
            unreachable=self._observed.unreachable,
        )

    def close(self) -> None:
        """Drop the connection."""
        if self._rest is not None:
            self._rest.close()
            self._rest = None

    def _read_on(self, path: Path) -> list[HawkEvent]:
        try:
            with path.open("rb") as file:
                stat = path.stat()
                inode, offset = self._read.get(path, (stat.st_ino, 0))
                if inode != stat.st_ino or offset > stat.st_size:
                    offset = 0
                file.seek(offset)
                data = file.read(ROUND_BYTES)
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]  # a line that is being written is left for the next time
        self._read[path] = (stat.st_ino, offset + len(whole))
        return [event for line in whole.splitlines() if (event := _decode(line, HawkEvent)) is not None]

    def _timelines(self) -> list[Failure]:
        path = self._folder / TIMELINES_FILE
        try:
            stat = path.stat()
            if self._recorded[0] != (stat.st_mtime_ns, stat.st_size):
                lines = path.read_bytes().splitlines()
                found = [one for line in lines if (one := _decode(line, Timeline)) is not None]
                self._recorded = ((stat.st_mtime_ns, stat.st_size), [render_timeline(one) for one in found])
        except FileNotFoundError:
            self._recorded = ((0, 0), [])
        return self._recorded[1]

    def _with_jobs(self, failure: Failure, now_ms: int) -> Failure:
        known = self._restarted.get(failure.id, failure)
        known = msgspec.structs.replace(failure, moments={**known.moments, **failure.moments}, restarts=known.restarts)
        if "running" in known.moments or now_ms - known.moments["verdict"] > YOUNG_MS:
            return known
        with contextlib.suppress(HeadraceError):  # Flink may be what is failing; it is asked again
            for failed_ms, running_ms in self._ask_jobs():
                known = with_restarts(known, failed_ms, running_ms)
        self._restarted[known.id] = known
        return known

    def _ask_jobs(self) -> list[tuple[list[int], int | None]]:
        """Of each running job: when it failed, and since when all of its tasks run."""
        if self._rest is None:
            self._rest = self._connect(self._endpoint())
        answers = []
        for job in self._rest.jobs():
            if job.ended:
                continue
            failed_ms = [one.at_ms for one in self._rest.failures(job.id)]
            if not failed_ms:
                continue
            since = [
                at_ms
                for vertex in self._rest.job(job.id).vertices
                for at_ms in self._rest.running_since(job.id, vertex.id)
            ]
            answers.append((failed_ms, max(since) if since and min(since) > 0 else None))
        return answers


def _decode(line: bytes, type_: type[T]) -> T | None:
    """A line of a log; None when it is damaged or of another version."""
    try:
        return msgspec.json.decode(line, type=type_)
    except msgspec.MsgspecError as error:
        log.debug("line_not_read", error=str(error))
        return None
