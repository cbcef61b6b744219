"""Pid files, and the cleaning up after a supervisor that was killed.

Every child leads its own session, so its helpers (a JVM that the driver started, say) carry the child's pid as session id.
The kernel gives no new process a pid that is still used as a session id. So a process is ours if and only if its session is
the recorded pid and the leader, if it still lives, has the recorded start time; a reused pid is never touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import Internal

GRACE_S = 8.0  # a child gets this long after SIGTERM; contract of all entry modules is 5 s
KILL_S = 10.0  # SIGKILL takes effect at once unless the process hangs in the kernel
POLL_S = 0.05
LOCK_FILE = "supervisor.lock"


class PidRecord(msgspec.Struct, frozen=True):
    """What a pid file holds; `start_ticks` is field 22 of /proc/<pid>/stat, which tells a reused pid apart.

    `stopping` says that the process was asked to end: whoever watches it must not take that for a loss.
    """

    name: str
    pid: int
    start_ticks: int
    stopping: bool = False


class ProcessStat(msgspec.Struct, frozen=True):
    """What is used of /proc/<pid>/stat (proc(5), fields 6, 14 + 15, 22, 24)."""

    pid: int
    session: int
    cpu_ticks: int
    start_ticks: int
    rss_pages: int


def lock_folder(folder: Path) -> int | None:
    """Become the only one that starts processes in `folder` until this process ends; `None` if there is one already."""
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def start_ticks(pid: int) -> int:
    """Kernel start time of a process in clock ticks since boot; 0 when there is no such process or only its zombie."""
    stat = _read_stat(pid)
    return stat.start_ticks if stat else 0


def read_stats() -> list[ProcessStat]:
    """All living processes, from one pass over /proc."""
    return [stat for entry in os.listdir("/proc") if entry.isdigit() and (stat := _read_stat(int(entry)))]


def write_pid(folder: Path, name: str, pid: int) -> PidRecord:
    """Record a process that was just started."""
    return _write(folder, PidRecord(name, pid, start_ticks(pid)))


def announce_stop(folder: Path, record: PidRecord) -> None:
    """Say in the pid file that the process is about to be stopped on purpose."""
    _write(folder, msgspec.structs.replace(record, stopping=True))


def _write(folder: Path, record: PidRecord) -> PidRecord:
    temporary = folder / f".{record.name}.pid"
    temporary.write_bytes(msgspec.json.encode(record))
    temporary.replace(folder / f"{record.name}.pid")
    return record


def read_pids(folder: Path) -> list[PidRecord]:
    """All recorded processes; a damaged file is skipped, since nothing can be learnt from it."""
    records = []
    for path in sorted(folder.glob("*.pid")):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            records.append(msgspec.json.decode(path.read_bytes(), type=PidRecord))
    return records


def members(record: PidRecord, sessions: Mapping[int, list[int]] | None = None) -> list[int]:
    """Living processes of the record's session, the leader included; empty when the pid was reused."""
    leader = start_ticks(record.pid)
    if leader and leader != record.start_ticks:
        return []
    return list((living_sessions() if sessions is None else sessions).get(record.pid, []))


def living_sessions() -> dict[int, list[int]]:
    """Pids of all living processes by session id."""
    sessions: dict[int, list[int]] = {}
    for stat in read_stats():
        sessions.setdefault(stat.session, []).append(stat.pid)
    return sessions


def signal_members(records: Sequence[PidRecord], number: signal.Signals) -> list[PidRecord]:
    """Send a signal to every member of the sessions; returns the records that had any."""
    sessions = living_sessions()
    alive = []
    for record in records:
        pids = members(record, sessions)
        alive += [record] if pids else []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    return alive


def clean_orphans(folder: Path, *, clock: Clock, grace_s: float = GRACE_S) -> list[str]:
    """Stop everything recorded in `folder` that still lives: politely, then by force; removes the pid files.

    Returns:
        Names of the processes that had to be stopped.

    Raises:
        Internal: a process survives SIGKILL (it hangs in the kernel).
    """
    alive = signal_members(read_pids(folder), signal.SIGTERM)
    left = _wait_gone(alive, clock=clock, limit_s=grace_s)
    left = _wait_gone(signal_members(left, signal.SIGKILL), clock=clock, limit_s=KILL_S)
    if left:
        raise Internal("processes cannot be killed", context={"names": ", ".join(record.name for record in left)})
    for path in folder.glob("*.pid"):
        path.unlink(missing_ok=True)
    return [record.name for record in alive]


def _wait_gone(records: list[PidRecord], *, clock: Clock, limit_s: float) -> list[PidRecord]:
    deadline = clock.monotonic_s() + limit_s
    left = records
    while left and clock.monotonic_s() < deadline:
        clock.sleep(POLL_S)
        sessions = living_sessions()
        left = [record for record in left if members(record, sessions)]
    return left


def _read_stat(pid: int) -> ProcessStat | None:
    """The name in field 2 may hold spaces and parentheses, so fields are counted from the last one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    if not fields or fields[0] in "ZX":
        return None
    return ProcessStat(pid, int(fields[3]), int(fields[11]) + int(fields[12]), int(fields[19]), int(fields[21]))
