"""`headrace job deploy | list | show | stop`: thin over headraced's HTTP face."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from headrace.cli.face import Face, run
from headrace.cli.headraced_client import DEPLOY_TIMEOUT_S, Headraced
from headrace.cli.table_commands import new_grid, print_grid
from headrace.core.errors import NotFound
from headrace.jobs.host import Deployed, JobDetail
from headrace.jobs.model import JobSummary
from headrace.sql.project import parse_project, read_files

HomeOption = Annotated[str | None, cyclopts.Parameter(name="--home", help="folder of the stack [.headrace]")]
JsonOption = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="print one JSON object")]
FolderArgument = Annotated[Path, cyclopts.Parameter(help="project folder: the one that holds headrace.toml")]
PipelinesArgument = Annotated[list[str] | None, cyclopts.Parameter(help="names of pipelines [all of the folder]")]
NameArgument = Annotated[str, cyclopts.Parameter(help="name of the job")]
TargetOption = Annotated[str, cyclopts.Parameter(name="--target", help="target of headrace.toml to deploy to")]
FreshOption = Annotated[bool, cyclopts.Parameter(name="--fresh", negative="", help="start without earlier state")]
SavepointOption = Annotated[
    bool, cyclopts.Parameter(name="--savepoint", help="keep the state for the next deploy, or end without")
]
_STATE_COLOURS = {"running": "green", "failed": "red", "restarting": "yellow", "submitted": "yellow"}


class DeployResult(msgspec.Struct, frozen=True):
    """What `job deploy --json` prints."""

    project: str
    jobs: list[Deployed]


def deploy_command(
    folder: FolderArgument,
    pipelines: PipelinesArgument = None,
    /,
    *,
    target: TargetOption = "local",
    fresh: FreshOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deploy pipelines of a project folder: check, compile, create topics, start. One that runs is replaced from a savepoint."""
    options = _DeployOptions(folder, tuple(pipelines or ()), target, fresh)
    run(lambda face: _deploy(face, options, home), as_json=as_json)


def list_command(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the jobs with what is wanted of them and what they do."""
    run(lambda face: _list(face, home), as_json=as_json)


def show_command(name: NameArgument, /, *, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one job: state, sources and sinks, attempts."""
    run(lambda face: _show(face, name, home), as_json=as_json)


def stop_command(
    name: NameArgument, /, *, savepoint: SavepointOption = True, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Stop a job with a savepoint; `--no-savepoint` ends it at once, its last checkpoint stays."""
    run(lambda face: _stop(face, name, savepoint, home), as_json=as_json)


class _DeployOptions(msgspec.Struct, frozen=True):
    folder: Path
    pipelines: tuple[str, ...]
    target: str
    fresh: bool


def _deploy(face: Face, options: _DeployOptions, home: str | None) -> None:
    files = read_files(options.folder)
    project = parse_project(files)
    project.target(options.target)
    wanted = [project.pipeline(name) for name in options.pipelines] or list(project.pipelines)
    if not wanted:
        raise NotFound("the project has no pipelines", context={"project": project.name}, hint="pipelines/*.sql")
    results: list[Deployed] = []
    with Headraced.of_home(home) as headraced, _progress(face) as progress:
        for pipeline in wanted:
            name = pipeline.head.name
            task = progress.add_task(f"{name}: checking, compiling, starting", total=None)
            body = {
                "project": project.name,
                "files": files,
                "pipeline": name,
                "target": options.target,
                "fresh": options.fresh,
            }
            results.append(headraced.post("/v1/jobs:deploy", Deployed, body=body, timeout_s=DEPLOY_TIMEOUT_S))
            progress.remove_task(task)
            if not face.as_json:
                render_deployed_line(results[-1], face.out)
    if face.as_json:
        face.show(DeployResult(project.name, results), lambda _value, _console: None)


def _progress(face: Face) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    return Progress(*columns, console=face.err, transient=True, disable=face.as_json or not face.err.is_terminal)


def _list(face: Face, home: str | None) -> None:
    with Headraced.of_home(home) as headraced:
        face.show(headraced.get("/v1/jobs", list[JobSummary]), render_jobs)


def _show(face: Face, name: str, home: str | None) -> None:
    with Headraced.of_home(home) as headraced:
        face.show(headraced.get(f"/v1/jobs/{name}", JobDetail), render_job)


def _stop(face: Face, name: str, savepoint: bool, home: str | None) -> None:
    with Headraced.of_home(home) as headraced:
        body = {"savepoint": savepoint}
        stopped = headraced.post(f"/v1/jobs/{name}:stop", JobSummary, body=body, timeout_s=DEPLOY_TIMEOUT_S)
    face.show(stopped, render_stopped)


def render_deployed_line(deployed: Deployed, console: Console) -> None:
    """One line per deployed pipeline, a second one when it is not well."""
    came_from = f" from {Path(deployed.restored_from).name}" if deployed.restored_from else ""
    flow = f"{', '.join(deployed.sources)} → {', '.join(deployed.sinks)}"
    console.print(
        f"{deployed.job:24} {_coloured(deployed.state)} [dim]{deployed.action}{came_from}, "
        f"{deployed.elapsed_ms / 1000:.1f} s[/]  {flow}",
        highlight=False,
    )
    if deployed.error:
        console.print(f"  [yellow]{escape(deployed.error)}[/]", highlight=False)


def render_jobs(jobs: Sequence[JobSummary], console: Console) -> None:
    """A grid, or a sentence when there are none."""
    if not jobs:
        console.print("no jobs yet: `headrace job deploy DIR`", highlight=False)
        return
    grid = new_grid("job", "state", "wanted", "tier", "par.", "freshness", "reads", "writes", "failures")
    for job in jobs:
        grid.add_row(
            job.name,
            _coloured(job.state),
            job.desired,
            job.tier,
            str(job.parallelism),
            job.freshness,
            ", ".join(job.sources),
            ", ".join(job.sinks),
            str(job.failures),
        )
    print_grid(grid, console)
    for job in jobs:
        if job.error:
            console.print(f"[yellow]{job.name}[/]: {escape(job.error)}", highlight=False)


def render_job(detail: JobDetail, console: Console) -> None:
    """Facts, then one line per attempt, newest first."""
    job, spec = detail.job, detail.job.spec
    facts = {
        "state": f"{job.state.value} (wanted: {job.desired.value})",
        "project": f"{job.project}, target {spec.target}, tier {spec.tier}, parallelism {spec.parallelism}",
        "promise": spec.freshness,
        "reads": ", ".join(spec.sources),
        "writes": ", ".join(spec.sinks),
        "file": spec.script.file,
        "Flink id": job.flink_job_id,
        "starts from": job.restore_path,
        "version": job.fingerprint,
        "error": job.error,
    }
    console.print(f"[bold]{job.name}[/]", highlight=False)
    for fact, value in facts.items():
        if value:
            console.print(f"  {fact:12} {escape(value)}", highlight=False)
    for attempt in detail.attempts:
        at = datetime.fromtimestamp(attempt.submitted_at_ms / 1000, UTC).strftime("%m-%d %H:%M:%S")
        source = Path(attempt.restored_from).name if attempt.restored_from else "the beginning"
        console.print(f"  {at}  {attempt.outcome:9} {attempt.flink_job_id} from {source}", highlight=False)


def render_stopped(job: JobSummary, console: Console) -> None:
    """One line."""
    kept = f", state in {job.restore_path}" if job.restore_path else ", no state kept"
    console.print(f"{job.name} {_coloured(job.state)}{escape(kept)}", highlight=False)


def _coloured(state: str) -> str:
    colour = _STATE_COLOURS.get(state)
    return f"[{colour}]{state}[/]" if colour else state


jobs = cyclopts.App(name="job", help="Jobs: pipelines that run.")
jobs.command(deploy_command, name="deploy")
jobs.command(list_command, name="list")
jobs.command(show_command, name="show")
jobs.command(stop_command, name="stop")
