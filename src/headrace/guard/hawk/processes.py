"""The Flink processes of this host, from the pid files of their supervisor: seen to end at once, stopped, continued, killed.

A pid file (`headrace.stack.orphans`) names a process and its start time, so that a reused pid is never touched; it leads its own session, so
its helpers are reached too. A process descriptor (pidfd) tells the end of a process that is not our child, but only when its memory has been taken down,
which takes the kernel a tenth of a second for a JVM; that it has begun to end, after which none of its code runs, stands in its flags, which are looked at
every few milliseconds. A file that says `stopping` announces an end that was asked for: no loss.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from headrace.guard.hawk.fence import Fence
from headrace.guard.hawk.model import JOB_MANAGER_PREFIX, ProcessReport
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.wire import PROCESSES_MAX
from headrace.stack import orphans

Tell = Callable[..., None]
TASK_MANAGERS = ("taskmanager",)
TASK_AND_JOB_MANAGERS = (*TASK_MANAGERS, JOB_MANAGER_PREFIX)  # where another JobManager can lead
_STOPPED = (b"T", b"t")  # proc(5), field 3: stopped by a signal, or by a debugger
_EXITING = 0x4  # proc(5), field 9: `PF_EXITING` of the kernel's sched.h
_STAT_BYTES = 512
GLANCE_MS = 50  # between two looks at whether a process has begun to end; 20 would cost the agent more than its percent of a core


class Watched:
    """One process; `descriptor` is its pidfd. Its state is that of its first thread: a JVM's waits for all others.

    Raises:
        OSError: there is no such process.
    """

    def __init__(self, record: orphans.PidRecord) -> None:
        self.record = record
        self.descriptor = os.pidfd_open(record.pid)
        try:
            self._stat = os.open(f"/proc/{record.pid}/task/{record.pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self.descriptor)
            raise
        self.stopped_ms: int | None = None
        self.killed_frozen = False

    def is_stopped(self) -> bool:
        """Whether it stands still because of a signal."""
        return self._field(3) in _STOPPED

    def is_ending(self) -> bool:
        """Whether it has begun to end, or has ended."""
        flags = self._field(9)
        return not flags or int(flags) & _EXITING != 0

    def _field(self, number: int) -> bytes:
        """A field of proc(5)'s `stat`; empty when the process has gone."""
        try:
            fields = os.pread(self._stat, _STAT_BYTES, 0).rpartition(b")")[2].split(maxsplit=number - 2)
        except OSError:
            return b""
        return fields[number - 3] if len(fields) > number - 3 else b""

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)
        os.close(self._stat)


class ProcessWatch:
    """Watches the processes whose pid files lie in one folder; `prefixes` of their names say which."""

    def __init__(
        self,
        folder: Path,
        selector: selectors.BaseSelector,
        *,
        options: HawkOptions,
        tell: Tell,
        now: Callable[[], int],
        prefixes: Sequence[str] = TASK_MANAGERS,
    ) -> None:
        self._now = now
        self._prefixes = tuple(prefixes)
        self._folder = folder
        self._selector = selector
        self._options = options
        self._tell = tell
        self._watched: dict[str, Watched] = {}
        self._lost: dict[str, tuple[int, int, bool]] = {}  # name → (pid, when, frozen)
        self._seen: dict[str, tuple[int, int]] = {}  # file → (mtime ns, inode)
        self._fence = Fence.RUN
        self.news = False

    def refresh(self, now_ms: int) -> None:
        """Read new pid files, and find processes that stand still."""
        self._read_folder()
        for name, watched in self._watched.items():
            self._check_frozen(name, watched, now_ms)

    def wait(self, timeout_ms: float) -> list[tuple[selectors.SelectorKey, int]]:
        """Sleep on the selector for so long at most, or until something comes or a process begins to end; returns what came, which the caller serves."""
        until_ms = self._now() + timeout_ms
        while True:
            left_ms = until_ms - self._now()
            events = self._selector.select(max(0.0, min(left_ms, GLANCE_MS)) / 1000)
            if not events:
                self.glance()
            if events or self.news or left_ms <= GLANCE_MS:
                return events

    def glance(self) -> None:
        """Look whether one has begun to end: sooner than its descriptor tells. Should only its first thread have ended, the others are killed."""
        for name, watched in list(self._watched.items()):
            if watched.is_ending():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(watched.descriptor, signal.SIGKILL)
                self._on_end(name, watched.record.pid)

    def reports(self, now_ms: int) -> tuple[ProcessReport, ...]:
        """What the heartbeat says of them."""
        names = sorted(self._watched.keys() | self._lost.keys())[:PROCESSES_MAX]
        reports = []
        for name in names:
            watched = self._watched.get(name)
            pid, at_ms, frozen = self._lost.get(name, (0, now_ms, False))
            reports.append(ProcessReport(name, watched.record.pid if watched else 0, pid, now_ms - at_ms, frozen))
        return tuple(reports)

    def apply(self, fence: Fence) -> None:
        """Stop, continue or kill all of them; called each turn, so that one that has just started is stopped, too."""
        if fence is not self._fence:
            self._tell("fence", fence=fence, names=sorted(self._watched))
        numbers = {Fence.HOLD: signal.SIGSTOP, Fence.KILL: signal.SIGKILL, Fence.RUN: signal.SIGCONT}
        changed, self._fence = fence is not self._fence, fence
        for watched in self._watched.values():
            if fence is Fence.HOLD and watched.stopped_ms is None:
                watched.stopped_ms = -1
                self._signal(watched, signal.SIGSTOP)
            elif changed and fence is not Fence.HOLD:
                watched.stopped_ms = None
                self._signal(watched, numbers[fence])

    def close(self) -> None:
        """Forget them; they go on."""
        for name in list(self._watched):
            self._forget(name)

    def _read_folder(self) -> None:
        try:
            entries = [entry for entry in os.scandir(self._folder) if entry.name.startswith(self._prefixes)]
        except OSError:
            return  # not made yet, or the disk is gone; what is watched stays watched
        present = {}
        for entry in entries:
            if entry.name.endswith(".pid"):
                with contextlib.suppress(OSError):
                    stat = entry.stat()
                    present[entry.name] = (stat.st_mtime_ns, stat.st_ino)
        if present == self._seen:
            return
        self._seen = present
        for record in orphans.read_pids(self._folder):
            if record.name.startswith(self._prefixes):
                self._take(record)

    def _take(self, record: orphans.PidRecord) -> None:
        known = self._watched.get(record.name)
        if known is not None and known.record.pid == record.pid:
            known.record = record  # it may be stopping now
            return
        with contextlib.suppress(OSError):
            watched = Watched(record)
            if orphans.start_ticks(record.pid) != record.start_ticks:
                watched.close()
                return
            if known is not None:
                self._end(record.name, known)  # it has been started again before its end was looked at
            self._watched[record.name] = watched
            self._selector.register(
                watched.descriptor, selectors.EVENT_READ, lambda _: self._on_end(record.name, record.pid)
            )
            self._tell("process_watched", process=record.name, pid=record.pid)

    def _on_end(self, name: str, pid: int) -> None:
        self._read_folder()  # the file may say by now that it was asked to stop, or name its successor
        watched = self._watched.get(name)
        if watched is not None and watched.record.pid == pid:
            self._end(name, watched)

    def _end(self, name: str, watched: Watched) -> None:
        pid, asked = watched.record.pid, watched.record.stopping
        self._forget(name)
        self._tell("process_ended", process=name, pid=pid, asked=asked)
        if not asked:
            self._lost[name] = (pid, self._now(), watched.killed_frozen)
            self.news = True

    def _check_frozen(self, name: str, watched: Watched, now_ms: int) -> None:
        if self._fence is Fence.HOLD:
            return
        if not watched.is_stopped():
            watched.stopped_ms = None
            return
        if watched.stopped_ms is None:
            watched.stopped_ms = now_ms
        elif now_ms - watched.stopped_ms >= self._options.frozen_after_ms and not watched.killed_frozen:
            watched.killed_frozen = True
            self._tell("process_frozen", process=name, pid=watched.record.pid)
            self._signal(watched, signal.SIGKILL)

    def _signal(self, watched: Watched, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(watched.descriptor, number)  # the JVM at once, its helpers after a walk over /proc
        orphans.signal_members([watched.record], number)

    def _forget(self, name: str) -> None:
        watched = self._watched.pop(name)
        self._selector.unregister(watched.descriptor)
        watched.close()
