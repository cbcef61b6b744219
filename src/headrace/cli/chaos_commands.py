"""`headrace chaos run | matrix | cases`: the failure lab; `chaos kill | freeze`: faults of a local stack."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from rich.console import Console

from headrace.cli.face import Face, run
from headrace.core.clock import SystemClock
from headrace.core.errors import Invalid, NotFound, nearest
from headrace.core.home import Home, resolve_home
from headrace.core.rand import seeded, unseeded
from headrace.guard.lab import network
from headrace.guard.lab.cluster import LabCluster, LabSetup
from headrace.guard.lab.experiment import Experiment, Outcome, Plan
from headrace.guard.lab.faults import FAULTS
from headrace.guard.lab.matrix import MatrixReport, judge_all
from headrace.guard.lab.timeline import render, summarize
from headrace.stack import orphans
from headrace.stack.client import ask
from headrace.stack.messages import Request

HomeOption = Annotated[str | None, cyclopts.Parameter(name="--home", help="folder of the stack [.headrace]")]
FolderOption = Annotated[
    Path | None, cyclopts.Parameter(name="--folder", help="where the lab keeps logs and timelines [a temporary folder]")
]
HostsOption = Annotated[int, cyclopts.Parameter(name="--hosts", help="hosts with a TaskManager each")]
SeedOption = Annotated[int | None, cyclopts.Parameter(name="--seed", help="chooses victims and moments [a new one]")]
JsonOption = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="print one JSON object")]
HOSTS_MAX = 16

chaos = cyclopts.App(name="chaos", help="Cause failures on purpose and record what they cost.")


class ChaosResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `chaos run --json` prints."""

    seed: int
    folder: str
    outcome: Outcome
    summary: dict[str, dict[str, float]]


@chaos.command
def cases(*, as_json: JsonOption = False) -> None:
    """List the faults of the lab."""
    rows = {fault.name: fault.what for fault in FAULTS.values()}
    run(lambda face: face.show(rows, _render_cases), as_json=as_json)


@chaos.command(name="run")
def run_command(
    case: Annotated[str, cyclopts.Parameter(help="faults, separated by commas; `headrace chaos cases` lists them")],
    /,
    *,
    repeats: Annotated[int, cyclopts.Parameter(name="--repeats", help="how often each")] = 1,
    hosts: HostsOption = 4,
    stock: Annotated[
        bool, cyclopts.Parameter(name="--stock", negative="", help="without Hawk, and with Flink's own defaults")
    ] = False,
    seed: SeedOption = None,
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a cluster of several hosts (network namespaces, root), run a job, cause faults, print each timeline."""
    names = [name.strip() for name in case.split(",") if name.strip()]
    run(lambda face: _run(face, names, LabSetup(hosts=hosts, stock=stock), repeats, folder, seed), as_json=as_json)


@chaos.command
def matrix(
    *, hosts: HostsOption = 4, seed: SeedOption = None, folder: FolderOption = None, as_json: JsonOption = False
) -> None:
    """Run every fault once and judge it; exit code 1 when one failed. Needs root."""
    run(lambda face: _matrix(face, LabSetup(hosts=hosts), folder, seed), as_json=as_json)


@chaos.command
def kill(
    name: Annotated[str, cyclopts.Parameter(help="process as `headrace status` shows it")],
    /,
    *,
    home: HomeOption = None,
) -> None:
    """Kill a process of a local stack as a crash would; its supervisor starts it again."""
    run(lambda face: _kill(face, resolve_home(home), name))


@chaos.command
def freeze(
    name: Annotated[str, cyclopts.Parameter(help="process as `headrace status` shows it")],
    /,
    *,
    seconds: Annotated[float, cyclopts.Parameter(name="--seconds", help="for how long")] = 10,
    home: HomeOption = None,
) -> None:
    """Stop a process of a local stack for a while (SIGSTOP), then let it go on."""
    run(lambda face: _freeze(face, resolve_home(home), name, seconds))


def check_cases(names: Sequence[str]) -> None:
    """Refuse faults that there are not.

    Raises:
        NotFound: offers the nearest.
        Invalid: none was named.
    """
    if not names:
        raise Invalid("no fault was named", hint="`headrace chaos cases` lists them")
    for name in names:
        if name not in FAULTS:
            close = ", ".join(nearest(name, FAULTS)) or ", ".join(FAULTS)
            raise NotFound("no such fault", context={"case": name}, hint=f"did you mean: {close}")


def experiment(face: Face, plan: Plan, setup: LabSetup, folder: Path, seed: int) -> Outcome:
    """One cluster, one job, all faults of a plan."""
    if not 2 <= setup.hosts <= HOSTS_MAX:
        raise Invalid("number of hosts is out of range", context={"hosts": setup.hosts, "range": f"2 to {HOSTS_MAX}"})
    network.check()
    clock = SystemClock()
    face.say(f"seed {seed}; starting {setup.hosts} hosts in {folder}")
    with LabCluster(Home(folder), setup, clock=clock) as lab:
        outcome = Experiment(
            lab, plan, clock=clock, random=seeded(seed), report=lambda timeline: face.say(render(timeline))
        ).run()
    (folder / "outcome.json").write_bytes(msgspec.json.format(msgspec.json.encode(outcome)))
    return outcome


def _run(
    face: Face, names: Sequence[str], setup: LabSetup, repeats: int, folder: Path | None, seed: int | None
) -> None:
    check_cases(names)
    place, chosen = _place(folder), _seed(seed)
    outcome = experiment(face, Plan(cases=names, repeats=repeats), setup, place, chosen)
    result = ChaosResult(seed=chosen, folder=str(place), outcome=outcome, summary=summarize(outcome.timelines))
    face.show(result, _render_result)


def _matrix(face: Face, setup: LabSetup, folder: Path | None, seed: int | None) -> None:
    plan = Plan(cases=tuple(FAULTS))
    report = judge_all([experiment(face, plan, setup, _place(folder), _seed(seed))])
    face.show(report, _render_matrix)
    if not report.passed:
        raise SystemExit(1)


def _kill(face: Face, home: Home, name: str) -> None:
    ask(home, Request("kill", (name,)))
    face.say(f"{name} was killed; `headrace status --watch` shows how it comes back")


def _freeze(face: Face, home: Home, name: str, seconds: float) -> None:
    home.load_stack()
    records = [record for record in orphans.read_pids(home.run) if record.name == name]
    if not records:
        known = [record.name for record in orphans.read_pids(home.run)]
        raise NotFound(
            "no such process is running",
            context={"name": name},
            hint=f"did you mean: {', '.join(nearest(name, known))}",
        )
    try:
        orphans.signal_members(records, signal.SIGSTOP)
        face.say(f"{name} stands still for {seconds:g} s")
        SystemClock().sleep(seconds)
    finally:
        orphans.signal_members(records, signal.SIGCONT)


def _place(folder: Path | None) -> Path:
    """The lab's folder; paths of Unix sockets must stay short, so the system's temporary folder it is."""
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="headrace-lab-"))
    folder.mkdir(parents=True, exist_ok=True)
    if os.listdir(folder):
        raise Invalid("folder of the lab is not empty", context={"folder": folder}, hint="choose a new one")
    return folder.absolute()


def _seed(seed: int | None) -> int:
    return unseeded().randrange(1 << 32) if seed is None else seed


def _render_cases(rows: dict[str, str], out: Console) -> None:
    for name, what in rows.items():
        out.print(f"{name:<20} {what}", highlight=False)


def _render_result(result: ChaosResult, out: Console) -> None:
    for name, values in result.summary.items():
        out.print(f"{name:<26} p50 {values['p50']:.2f}  p99 {values['p99']:.2f}  n {values['n']:.0f}", highlight=False)
    books = result.outcome.books
    out.print(
        f"{books.produced} records: {books.lost} lost, {books.doubled} doubled, {books.miscounted} keys miscounted"
    )
    out.print(f"timelines: {result.folder}/outcome.json")


def _render_matrix(report: MatrixReport, out: Console) -> None:
    for judgement in report.judgements:
        mark = "passed" if not judgement.problems else "FAILED: " + "; ".join(judgement.problems)
        out.print(f"{judgement.case:<20} {judgement.host:<4} {mark}", highlight=False)
    for problem in report.books_problems:
        out.print(f"books: {problem}")
    for name, reason in report.not_played.items():
        out.print(f"not played: {name}: {reason}", highlight=False)
