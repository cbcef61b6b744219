"""`headrace chaos kill | freeze | restart-jm | slow-cpu | slow-disk | fill-disk`: faults of one process of a running local stack.

Each is undone by itself, also when the command is interrupted or terminated, and ends with the timeline of what Hawk and the jobs made of it, which is
stored in the run folder for the console.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Annotated

import cyclopts
from rich.console import Console

from headrace.cli.face import Face, run
from headrace.core.clock import SystemClock
from headrace.core.errors import HeadraceError, Invalid, NotFound, nearest
from headrace.core.home import Home, resolve_home
from headrace.flink.rest import FlinkRest
from headrace.guard.hawk.local import EVENTS_FILE
from headrace.guard.lab import local
from headrace.guard.lab.restart import JOB_MANAGER, RestartResult, restart_job_manager
from headrace.guard.lab.timeline import TIMELINES_FILE, Timeline, render, store_timeline
from headrace.stack import orphans
from headrace.stack.client import ask
from headrace.stack.messages import Request

HomeOption = Annotated[str | None, cyclopts.Parameter(name="--home", help="folder of the stack [.headrace]")]
JsonOption = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="print one JSON object")]
NameArgument = Annotated[str, cyclopts.Parameter(help="process as `headrace status` shows it")]
SecondsOption = Annotated[float, cyclopts.Parameter(name="--seconds", help="for how long")]
Cause = Callable[[Home, list[orphans.PidRecord]], AbstractContextManager[None]]
SECONDS_MAX = 3600.0


def add_local_faults(app: cyclopts.App) -> None:
    """Put the commands into `headrace chaos`."""
    for command in (kill, freeze, slow_cpu, slow_disk, fill_disk):
        app.command(command)
    app.command(restart_jm, name="restart-jm")


def kill(name: NameArgument, /, *, home: HomeOption = None) -> None:
    """Kill a process of a local stack as a crash would; its supervisor starts it again."""

    @contextlib.contextmanager
    def cause(where: Home, _: list[orphans.PidRecord]) -> Iterator[None]:
        ask(where, Request("kill", (name,)))
        yield

    run(lambda face: _play(face, resolve_home(home), name, "kill", 0, cause, f"{name} was killed"))


def freeze(name: NameArgument, /, *, seconds: SecondsOption = 10, home: HomeOption = None) -> None:
    """Stop a process of a local stack for a while (SIGSTOP), then let it go on."""

    @contextlib.contextmanager
    def cause(_: Home, records: list[orphans.PidRecord]) -> Iterator[None]:
        try:
            orphans.signal_members(records, signal.SIGSTOP)
            yield
        finally:
            orphans.signal_members(records, signal.SIGCONT)

    run(lambda face: _play(face, resolve_home(home), name, "freeze", seconds, cause, f"{name} stands still"))


def restart_jm(
    *,
    timeout: Annotated[float, cyclopts.Parameter(name="--timeout", help="how long to wait for all jobs, s")] = 180,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Kill the JobManager of a local stack, and say when it was back and when each job ran again; exit code 1 when one did not."""
    run(lambda face: _restart_jm(face, resolve_home(home), timeout), as_json=as_json)


def slow_cpu(
    name: NameArgument,
    /,
    *,
    seconds: SecondsOption = 10,
    share: Annotated[float, cyclopts.Parameter(name="--share", help="of one core, for all of its threads")] = 0.05,
    home: HomeOption = None,
) -> None:
    """Give a process of a local stack little CPU for a while. Needs root."""

    def cause(_: Home, records: list[orphans.PidRecord]) -> AbstractContextManager[None]:
        if not 0.001 <= share <= 1:
            raise Invalid("share of a core is out of range", context={"share": share, "range": "0.001 to 1"})
        return local.slow_cpu(_pids(records), name=name, share=share)

    told = f"{name} gets {share:.1%} of a core"
    run(lambda face: _play(face, resolve_home(home), name, "slow-cpu", seconds, cause, told))


def slow_disk(
    name: NameArgument,
    /,
    *,
    seconds: SecondsOption = 30,
    kb_per_s: Annotated[int, cyclopts.Parameter(name="--kb-per-s", help="that it may read, and write, a second")] = 16,
    home: HomeOption = None,
) -> None:
    """Let a process of a local stack read and write slowly for a while. Needs root."""

    def cause(where: Home, records: list[orphans.PidRecord]) -> AbstractContextManager[None]:
        if kb_per_s < 1:
            raise Invalid("rate of the disk is out of range", context={"kb_per_s": kb_per_s}, hint="1 at least")
        return local.slow_disk(_pids(records), name=name, folder=where.root, bytes_per_s=kb_per_s << 10)

    told = f"{name} reads and writes {kb_per_s} KiB/s"
    run(lambda face: _play(face, resolve_home(home), name, "slow-disk", seconds, cause, told))


def fill_disk(name: NameArgument, /, *, seconds: SecondsOption = 30, home: HomeOption = None) -> None:
    """Let every write of a process of a local stack to a file fail for a while, as on a full disk; no disk is filled."""

    def cause(_: Home, records: list[orphans.PidRecord]) -> AbstractContextManager[None]:
        return local.full_files(_pids(records))

    told = f"no file takes a byte of {name}"
    run(lambda face: _play(face, resolve_home(home), name, "fill-disk", seconds, cause, told))


def _play(face: Face, home: Home, name: str, case: str, seconds: float, cause: Cause, told: str) -> None:
    """Cause a fault, wait, undo it, follow the jobs, and store the timeline."""
    if not 0 <= seconds <= SECONDS_MAX:
        raise Invalid("duration is out of range", context={"seconds": seconds, "range": f"0 to {SECONDS_MAX:g}"})
    records = _find(home, name)
    clock = SystemClock()
    with FlinkRest(home.load_stack().endpoints.flink, clock) as rest:
        jobs = _running_jobs(rest)
        fault_ms = clock.now_ms()
        with cause(home, records):
            face.say(told + (f" for {seconds:g} s" if seconds else ""))
            clock.sleep(seconds)
        face.say("following the jobs" if jobs else "no job runs here")
        hawk = home.run / EVENTS_FILE
        timeline = local.follow(rest, jobs, hawk, case=case, process=name, fault_ms=fault_ms, clock=clock)
    store_timeline(home.run / TIMELINES_FILE, timeline)
    _show(face, timeline)


def _restart_jm(face: Face, home: Home, timeout_s: float) -> None:
    if not 0 < timeout_s <= SECONDS_MAX:
        raise Invalid("duration is out of range", context={"timeout": timeout_s, "range": f"0 to {SECONDS_MAX:g}"})
    face.say(f"killing the {JOB_MANAGER}")
    result = restart_job_manager(home, clock=SystemClock(), timeout_s=timeout_s)
    store_timeline(home.run / TIMELINES_FILE, result.timeline())
    face.show(result, _render_restart)
    if not result.passed:
        raise SystemExit(1)


def _render_restart(result: RestartResult, out: Console) -> None:
    back = "did not come back" if result.back_s is None else f"answered after {result.back_s:.1f} s"
    out.print(f"{JOB_MANAGER:<32} {back}", highlight=False)
    for name, seconds in result.jobs_s.items():
        again = "does not run" if seconds is None else f"runs again after {seconds:.1f} s"
        out.print(f"{name:<32} {again}", highlight=False)


def _show(face: Face, timeline: Timeline) -> None:
    face.say(render(timeline))
    if timeline.problem:
        face.say(f"{timeline.problem}; `headrace status --watch` shows how the processes come back")


def _find(home: Home, name: str) -> list[orphans.PidRecord]:
    """The process of this name, of a stack that runs.

    Raises:
        NotFound: there is none; offers the nearest.
    """
    home.load_stack()
    known = orphans.read_pids(home.run)
    records = [record for record in known if record.name == name]
    if not records:
        close = ", ".join(nearest(name, [record.name for record in known]))
        raise NotFound("no such process is running", context={"name": name}, hint=f"did you mean: {close}")
    return records


def _pids(records: list[orphans.PidRecord]) -> list[int]:
    return [pid for record in records for pid in orphans.members(record)]


def _running_jobs(rest: FlinkRest) -> list[str]:
    try:
        return [job.id for job in rest.jobs() if not job.ended]
    except HeadraceError:
        return []  # no Flink in this stack, or it is down: there is nothing to follow
