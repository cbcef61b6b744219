"""`headrace chaos run | matrix | soak | report | cases`: the failure lab; faults of a local stack are in `chaos_local`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import cyclopts
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from headrace.cli.chaos_local import HomeOption, add_local_faults
from headrace.cli.face import Face, run
from headrace.core.clock import SystemClock
from headrace.core.errors import Invalid, NotFound, Unsupported, nearest
from headrace.core.home import Home, resolve_home
from headrace.core.rand import seeded, unseeded
from headrace.guard.lab import network
from headrace.guard.lab.cluster import LabCluster, LabSetup
from headrace.guard.lab.experiment import Experiment, Outcome, Plan
from headrace.guard.lab.faults import FAULTS
from headrace.guard.lab.load import FULL_LOAD
from headrace.guard.lab.matrix import MatrixReport, judge_all, merge_reports
from headrace.guard.lab.report import render_page
from headrace.guard.lab.timeline import TIMELINES_FILE, Timeline, render, store_timeline, summarize
from headrace.guard.lab.workload import Books

FolderOption = Annotated[
    Path | None, cyclopts.Parameter(name="--folder", help="where the lab keeps logs and timelines [a temporary folder]")
]
HostsOption = Annotated[int, cyclopts.Parameter(name="--hosts", help="hosts with a TaskManager each")]
SeedOption = Annotated[int | None, cyclopts.Parameter(name="--seed", help="chooses victims and moments [a new one]")]
JsonOption = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="print one JSON object")]
HOSTS_MAX = 16
SOAK_MINUTES, SOAK_MINUTES_MAX = 30.0, 24 * 60.0
SOAK_RATE, SOAK_RATE_MAX = 2000, 20_000
OUTCOME_FILE, MATRIX_FILE, REPORT_FILE = "outcome.json", "matrix.json", "matrix.html"

chaos = cyclopts.App(name="chaos", help="Cause failures on purpose and record what they cost.")
add_local_faults(chaos)


class Lab(NamedTuple):
    """How a lab's cluster is started, and where its timelines go."""

    hosts: int
    folder: Path | None
    seed: int | None
    home: str | None
    stock: bool = False


class ChaosResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `chaos run --json` prints."""

    seed: int
    folder: str
    outcome: Outcome
    summary: dict[str, dict[str, float]]


@chaos.command
def cases(*, as_json: JsonOption = False) -> None:
    """List the faults of the lab."""
    rows = {fault.name: fault.what + _absence(fault.missing()) for fault in FAULTS.values()}
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
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a cluster of several hosts (network namespaces, root), run a job, cause faults, print each timeline."""
    names = [name.strip() for name in case.split(",") if name.strip()]
    lab = Lab(hosts=hosts, stock=stock, folder=folder, seed=seed, home=home)
    run(lambda face: _run(face, names, lab, repeats), as_json=as_json)


@chaos.command
def matrix(
    *,
    chosen: Annotated[
        str,
        cyclopts.Parameter(name="--cases", help="a part of them, separated by commas [all that this machine allows]"),
    ] = "",
    hosts: HostsOption = 4,
    seed: SeedOption = None,
    folder: FolderOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run every fault once, judge it, and write a report with a timeline for each; exit code 1 when one failed. Needs root."""
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    run(lambda face: _matrix(face, names, Lab(hosts=hosts, folder=folder, seed=seed, home=home)), as_json=as_json)


@chaos.command
def soak(
    *,
    minutes: Annotated[float, cyclopts.Parameter(name="--minutes", help="how long the load lasts")] = SOAK_MINUTES,
    rate: Annotated[int, cyclopts.Parameter(name="--rate", help="records a second through the job")] = SOAK_RATE,
    hosts: HostsOption = 4,
    seed: SeedOption = None,
    folder: FolderOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a job while the machine has more to do than it can, and nothing else is wrong: nobody may be convicted; exit code 1 when somebody was. Needs root."""
    lab = Lab(hosts=hosts, folder=folder, seed=seed, home=home)
    run(lambda face: _soak(face, lab, minutes, rate), as_json=as_json)


@chaos.command
def report(
    folders: Annotated[
        list[Path], cyclopts.Parameter(help="folders of `chaos matrix`; a case counts by the last that played it")
    ],
    /,
    *,
    out: Annotated[Path, cyclopts.Parameter(name="--out", help="the page to write")] = Path(REPORT_FILE),
    as_json: JsonOption = False,
) -> None:
    """Write one report of several runs that each played a part of the matrix."""
    run(lambda face: _report(face, folders, out), as_json=as_json)


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


def setup_for(names: Sequence[str], *, hosts: int, stock: bool = False) -> LabSetup:
    """The cluster that these faults need."""
    faults = [FAULTS[name] for name in names]
    disks, clocks = any(fault.disks for fault in faults), any(fault.clocks for fault in faults)
    failover, retires = any(fault.failover for fault in faults), all(fault.fresh for fault in faults)
    return LabSetup(hosts=hosts, stock=stock, disks=disks, clocks=clocks, failover=failover, retires=retires)


def split_cases(names: Sequence[str]) -> list[list[str]]:
    """Cases that can share a cluster: those that need disks, clocks, JobManagers or a cluster of their own are kept apart from the others, in order."""
    groups: dict[tuple[bool, bool, bool, str], list[str]] = {}
    for name in names:
        fault = FAULTS[name]
        own = name if fault.fresh else ""
        groups.setdefault((fault.disks, fault.clocks, fault.failover, own), []).append(name)
    return list(groups.values())


def experiment(
    face: Face,
    plan: Plan,
    setup: LabSetup,
    folder: Path,
    seed: int,
    home: Home,
    *,
    progress: Callable[[float, float], None] = lambda _done_s, _all_s: None,
) -> Outcome:
    """One cluster, one job, all faults of a plan; timelines are also stored in the run folder of `home`, for its console."""
    if not 2 <= setup.hosts <= HOSTS_MAX:
        raise Invalid("number of hosts is out of range", context={"hosts": setup.hosts, "range": f"2 to {HOSTS_MAX}"})
    network.check()
    clock = SystemClock()
    face.say(f"seed {seed}; starting {setup.hosts} hosts in {folder}")

    def told(timeline: Timeline) -> None:
        face.say(render(timeline))
        store_timeline(home.run / TIMELINES_FILE, timeline)

    with LabCluster(Home(folder), setup, clock=clock) as lab:
        outcome = Experiment(lab, plan, clock=clock, random=seeded(seed), report=told, progress=progress).run()
    (folder / OUTCOME_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(outcome)))
    return outcome


def _run(face: Face, names: Sequence[str], lab: Lab, repeats: int) -> None:
    check_cases(names)
    for name in names:
        if lacking := FAULTS[name].missing():
            raise Unsupported(f"this machine cannot play that fault: {lacking}", context={"case": name})
    place, seed = _place(lab.folder), _seed(lab.seed)
    setup = setup_for(names, hosts=lab.hosts, stock=lab.stock)
    outcome = experiment(face, Plan(cases=names, repeats=repeats), setup, place, seed, resolve_home(lab.home))
    result = ChaosResult(seed=seed, folder=str(place), outcome=outcome, summary=summarize(outcome.timelines))
    face.show(result, _render_result)
    if outcome.stopped:
        raise SystemExit(1)


def _matrix(face: Face, names: Sequence[str], lab: Lab) -> None:
    if names:
        check_cases(names)
    place, seed, home = _place(lab.folder), _seed(lab.seed), resolve_home(lab.home)
    wanted = [name for name in names or FAULTS if not FAULTS[name].missing()]
    outcomes = []
    for number, group in enumerate(split_cases(wanted), 1):
        part = place / str(number)
        part.mkdir()
        outcomes.append(experiment(face, Plan(cases=group), setup_for(group, hosts=lab.hosts), part, seed, home))
    _finish(face, judge_all(outcomes, seed=seed), place / REPORT_FILE)


def _soak(face: Face, lab: Lab, minutes: float, rate: int) -> None:
    if not 0 < minutes <= SOAK_MINUTES_MAX:
        raise Invalid("duration is out of range", context={"minutes": minutes, "range": f"up to {SOAK_MINUTES_MAX:g}"})
    if not 1 <= rate <= SOAK_RATE_MAX:
        raise Invalid("rate is out of range", context={"rate": rate, "range": f"1 to {SOAK_RATE_MAX} records/s"})
    place, seed = _place(lab.folder), _seed(lab.seed)
    plan = Plan(cases=[FULL_LOAD], hold_s=minutes * 60, rate_per_s=rate)
    setup = setup_for(plan.cases, hosts=lab.hosts)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=face.err, transient=True, disable=face.as_json or not face.err.is_terminal) as bar:
        task = bar.add_task("full load", total=None)

        def tick(done_s: float, all_s: float) -> None:
            bar.update(task, completed=done_s, total=all_s)

        outcome = experiment(face, plan, setup, place, seed, resolve_home(lab.home), progress=tick)
    # Nobody has asked for another case.
    _finish(face, msgspec.structs.replace(judge_all([outcome], seed=seed), not_played={}), place / REPORT_FILE)


def _report(face: Face, folders: Sequence[Path], out: Path) -> None:
    reports = []
    for folder in folders:
        try:
            reports.append(msgspec.json.decode((folder / MATRIX_FILE).read_bytes(), type=MatrixReport))
        except (OSError, msgspec.MsgspecError) as error:
            raise Invalid(
                f"no report of `chaos matrix` can be read here: {error}", context={"folder": folder}
            ) from error
    _finish(face, merge_reports(reports), out)


def _finish(face: Face, found: MatrixReport, page: Path) -> None:
    """Store, show, and fail the command when a case failed."""
    page.with_name(MATRIX_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    page.write_text(render_page(found), "utf-8")
    face.show(found, _render_matrix)
    face.say(f"report: {page}")
    if not found.passed:
        raise SystemExit(1)


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


def _absence(reason: str) -> str:
    return f" (not here: {reason})" if reason else ""


def _render_cases(rows: dict[str, str], out: Console) -> None:
    for name, what in rows.items():
        out.print(f"{name:<24} {what}", highlight=False)


def _render_result(result: ChaosResult, out: Console) -> None:
    for name, values in result.summary.items():
        out.print(f"{name:<26} p50 {values['p50']:.2f}  p99 {values['p99']:.2f}  n {values['n']:.0f}", highlight=False)
    _print_books([result.outcome.books], out)
    out.print(f"timelines: {result.folder}/outcome.json")


def _print_books(books: Sequence[Books], out: Console) -> None:
    """The sums of all clusters' books."""
    produced, lost, doubled, miscounted = (
        sum(getattr(each, name) for each in books) for name in ("produced", "lost", "doubled", "miscounted")
    )
    out.print(f"{produced} records: {lost} lost, {doubled} doubled, {miscounted} keys miscounted", highlight=False)


def _render_matrix(found: MatrixReport, out: Console) -> None:
    for judgement in found.judgements:
        mark = "passed" if not judgement.problems else "FAILED: " + "; ".join(judgement.problems)
        out.print(f"{judgement.case:<24} {judgement.host:<4} {mark}", highlight=False)
    for problem in found.books_problems:
        out.print(f"books: {problem}")
    _print_books(found.books, out)
    for name, reason in found.not_played.items():
        out.print(f"not played: {name}: {reason}", highlight=False)
