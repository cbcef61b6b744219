"""Faults of one process of a running local stack, and the timeline of what its jobs made of them.

    slow-cpu    a control group gives it a small share of a core (root)
    slow-disk   a control group lets it read and write few bytes a second (root); what it leaves to the kernel's write-back is not slowed
    fill-disk   its files can take no more byte (RLIMIT_FSIZE 0): writes fail as on a full disk, with EFBIG instead of ENOSPC; the
                disk of the machine is not filled. No root.

All are undone by the same call that did them; what a process has seen fail it has to get over by itself. Jobs are other people's: their output is
not looked at, so nothing is known of when data flows or whether some is lost.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, Unsupported
from headrace.flink.rest import FlinkRest
from headrace.guard.hawk.events import HawkEvent
from headrace.guard.lab.groups import Group
from headrace.guard.lab.timeline import Timeline, read_events

HOST = "local"
SETTLE_S = (
    6.0  # a job that has not restarted by then does not restart for this fault: Flink sees refused calls within 2 s
)
FOLLOW_S = 120.0
POLL_S = 0.2
SIGXFSZ_BIT = 1 << 24  # signal 25; sent with EFBIG, and the end of a process that does not expect it


class JobTimes(msgspec.Struct, frozen=True):
    """What a fault did to one job: when it failed, wall ms, and since when all of its tasks run, None while some do not."""

    failed_ms: tuple[int, ...]
    running_ms: int | None


@contextlib.contextmanager
def slow_cpu(pids: Sequence[int], *, name: str, share: float) -> Iterator[None]:
    """Give processes this share of one core together.

    Raises:
        Unsupported: no control groups here.
    """
    with _limited("cpu", pids, name, lambda group: group.limit_cpu(share)):
        yield


@contextlib.contextmanager
def slow_disk(pids: Sequence[int], *, name: str, folder: Path, bytes_per_s: int) -> Iterator[None]:
    """Let processes read and write so many bytes a second on the disk that holds `folder`.

    Raises:
        Unsupported: no control groups here, or the folder is on no disk of its own (btrfs, overlay, network).
    """
    device = whole_disk(os.stat(folder).st_dev)
    with _limited("io", pids, name, lambda group: group.limit_disk(device, bytes_per_s)):
        yield


@contextlib.contextmanager
def full_files(pids: Sequence[int]) -> Iterator[None]:
    """Let no file of these processes take another byte.

    Raises:
        Unsupported: one of them would be killed by the signal that comes with the error.
    """
    for pid in pids:
        if not expects_limit(Path(f"/proc/{pid}/status").read_text()):
            raise Unsupported(
                "process would be killed instead of seeing its writes fail",
                context={"pid": pid},
                hint="a TaskManager, the JobManager and Kafka can be tried",
            )
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    try:
        for pid, (_, hard) in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        yield
    finally:
        for pid, limit in limits.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)


def expects_limit(status: str) -> bool:
    """Whether a process catches or ignores SIGXFSZ, from its /proc/<pid>/status."""
    masks = [line.split()[1] for line in status.splitlines() if line.startswith(("SigIgn:", "SigCgt:"))]
    return any(int(mask, 16) & SIGXFSZ_BIT for mask in masks)


def whole_disk(device: int, sys_dev: Path = Path("/sys/dev/block")) -> int:
    """The number of the disk that a partition is of; limits are kept by disk.

    Raises:
        Unsupported: not a device of a disk.
    """
    entry = sys_dev / f"{os.major(device)}:{os.minor(device)}"
    if not entry.exists():
        raise Unsupported(
            "folder is on no disk that can be slowed down",
            context={"device": f"{os.major(device)}:{os.minor(device)}"},
            hint="put the stack's home on an ext4 or XFS file system",
        )
    if not (entry / "partition").exists():
        return device
    major, _, minor = (entry.resolve().parent / "dev").read_text().strip().partition(":")
    return os.makedev(int(major), int(minor))


def follow(
    rest: FlinkRest, jobs: Sequence[str], hawk: Path, *, case: str, process: str, fault_ms: int, clock: Clock
) -> Timeline:
    """Watch jobs until all of them run as before, or for `FOLLOW_S`, and say when what happened."""
    deadline = clock.monotonic_s() + FOLLOW_S
    settled_ms = clock.now_ms() + round(SETTLE_S * 1000)
    times: list[JobTimes] = []
    while clock.monotonic_s() < deadline:
        with contextlib.suppress(HeadraceError):  # the JobManager may be the one that was hit
            times = [job_times(rest, job, since_ms=fault_ms) for job in jobs]
            if clock.now_ms() >= settled_ms and all(each.running_ms is not None for each in times):
                break
        clock.sleep(POLL_S)
    verdicts = hawk_times(read_events(hawk, since_ms=fault_ms), process)
    return local_timeline(times, verdicts, case=case, process=process, fault_ms=fault_ms)


def job_times(rest: FlinkRest, job: str, *, since_ms: int) -> JobTimes:
    """What happened to a job since then."""
    failed = sorted(each.at_ms for each in rest.failures(job) if each.at_ms >= since_ms)
    since = [at_ms for vertex in rest.job(job).vertices for at_ms in rest.running_since(job, vertex.id)]
    running = bool(since) and min(since) > 0
    return JobTimes(tuple(failed), max(since) if running else None)


def hawk_times(events: Iterable[HawkEvent], process: str) -> dict[str, int]:
    """`verdict_ms` and `told_ms` of a process from the events of a stack's Hawk, as far as they are there."""
    found: dict[str, int] = {}
    for event in events:
        if event.event == "verdict" and event.process == process:
            found.setdefault("verdict_ms", event.at_ms)
        elif event.event == "verdict_told" and process in event.names:
            found.setdefault("told_ms", event.at_ms)
    return found


def local_timeline(
    times: Iterable[JobTimes], verdicts: dict[str, int], *, case: str, process: str, fault_ms: int
) -> Timeline:
    """All jobs' times as one timeline: the first failure, and when the last of the jobs that failed ran again; pure."""
    hit = [each for each in times if each.failed_ms]
    running = [each.running_ms for each in hit]
    known = [each for each in running if each is not None]
    return Timeline(
        case=case,
        host=process,
        fault_ms=fault_ms,
        verdict_ms=verdicts.get("verdict_ms"),
        told_ms=verdicts.get("told_ms"),
        restarting_ms=min((each.failed_ms[0] for each in hit), default=None),
        running_ms=max(known) if hit and len(known) == len(running) else None,
        restarts=max((len(each.failed_ms) for each in hit), default=0),
        verdicts=(f"{HOST}/{process}",) if "verdict_ms" in verdicts else (),
        problem="" if len(known) == len(running) else "not all jobs run again",
    )


@contextlib.contextmanager
def _limited(controller: str, pids: Sequence[int], name: str, limit: Callable[[Group], None]) -> Iterator[None]:
    group = Group(controller, f"local-{name}")
    group.open()
    try:
        limit(group)
        for pid in pids:
            group.add(pid)
        yield
    finally:
        group.close()
