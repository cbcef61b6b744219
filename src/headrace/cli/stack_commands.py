"""`headrace up | down | status | doctor | logs`: the local stack."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from headrace.cli.face import Face, run
from headrace.core.clock import Clock, SystemClock
from headrace.core.config import load_options, read_toml
from headrace.core.errors import Invalid, NotFound, Unavailable, nearest
from headrace.core.home import Home, resolve_home
from headrace.flink.profile import cluster_settings
from headrace.stack.assets import find_assets
from headrace.stack.client import ask, find_status, spawn_supervisor, status, stop_stack
from headrace.stack.doctor import Finding, examine
from headrace.stack.logs import tail
from headrace.stack.messages import Launch, ProcessStatus, Request, StackStatus
from headrace.stack.options import StackOptions
from headrace.stack.specs import process_names, select_names

HomeOption = Annotated[str | None, cyclopts.Parameter(name="--home", help="folder of the stack [.headrace]")]
JsonOption = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="print one JSON object")]
OnlyOption = Annotated[str, cyclopts.Parameter(name="--only", help="names of processes, separated by commas [all]")]
ConfigOption = Annotated[
    Path | None, cyclopts.Parameter(name="--config", help="TOML file [<home>/headrace.toml, else ./headrace.toml]")
]
WatchOption = Annotated[bool, cyclopts.Parameter(name=["--watch", "-w"], negative="", help="refresh until Ctrl-C")]
FollowOption = Annotated[bool, cyclopts.Parameter(name=["--follow", "-f"], negative="", help="print what is added")]
LinesOption = Annotated[int, cyclopts.Parameter(name="--lines", help="lines from the end to begin with")]
POLL_S = 0.2
PLAIN_WIDTH = 160
FAILED_STARTS = 4  # crashes before the first readiness after which waiting on is useless
_COLOURS = {"ready": "green", "starting": "yellow", "preparing": "yellow", "waiting": "dim", "backoff": "red bold"}


class UpResult(msgspec.Struct, frozen=True):
    """What `up --json` prints."""

    already_up: bool
    seconds: float
    status: StackStatus


class DownResult(msgspec.Struct, frozen=True):
    """What `down --json` prints; `orphans` had outlived their supervisor."""

    was_up: bool
    seconds: float
    orphans: list[str]


def register(app: cyclopts.App) -> None:
    """Add the commands of the stack."""
    for command in (up, down, doctor, logs):
        app.command(command)
    app.command(status_command, name="status")


def up(
    *, home: HomeOption = None, only: OnlyOption = "", config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Start the local stack and wait until it is ready; a running one is left as it is."""
    run(lambda face: _up(face, resolve_home(home), only, config), as_json=as_json)


def down(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Stop the local stack; data and logs stay, nothing else does."""
    run(lambda face: _down(face, resolve_home(home)), as_json=as_json)


def status_command(*, home: HomeOption = None, watch: WatchOption = False, as_json: JsonOption = False) -> None:
    """Show the processes of the stack."""
    run(lambda face: _status(face, resolve_home(home), watch), as_json=as_json)


def doctor(*, home: HomeOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Examine machine and installation; exit code 1 when something must be fixed."""
    run(lambda face: _doctor(face, resolve_home(home), config), as_json=as_json)


def logs(
    name: Annotated[str, cyclopts.Parameter(help="process as `status` shows it, or `supervisor`")],
    *,
    home: HomeOption = None,
    follow: FollowOption = False,
    lines: LinesOption = 100,
    as_json: JsonOption = False,
) -> None:
    """Print the log of one process."""
    run(lambda face: _logs(face, resolve_home(home), name, lines=lines, follow=follow), as_json=as_json)


def load_stack_options(home: Home, config: Path | None) -> StackOptions:
    """The stack's options from the given file, else the home's, else the current folder's, and the environment."""
    candidates = [config] if config else [home.root / "headrace.toml", Path("headrace.toml")]
    found = [path for path in candidates if path and (config or path.is_file())]
    return load_options(StackOptions, document=read_toml(found[0]) if found else {}, env=os.environ)


def _up(face: Face, home: Home, only: str, config: Path | None) -> None:
    clock = SystemClock()
    begun = clock.monotonic_s()
    options = load_stack_options(home, config)
    names = select_names(options, [name.strip() for name in only.split(",") if name.strip()])
    current = find_status(home)
    if current is not None:
        running = {process.name for process in current.processes}
        missing = [name for name in names if name not in running]
        if not missing and current.ready:
            face.show(UpResult(True, 0.0, current), _render_already_up)
            return
        if missing:
            ask(home, Request("start", tuple(missing)))
    else:
        launch = Launch(options=options, flink_settings=cluster_settings(home), names=tuple(names))
        spawn_supervisor(home, launch, clock=clock)
    try:
        final = _wait_ready(face, home, options, clock=clock)
    except (Unavailable, KeyboardInterrupt):
        if current is None:
            face.say("not everything became ready: stopping what was started")
            stop_stack(home, clock=clock)
        raise
    face.show(UpResult(False, round(clock.monotonic_s() - begun, 1), final), _render_up)


def _wait_ready(face: Face, home: Home, options: StackOptions, *, clock: Clock) -> StackStatus:
    """Poll until all are ready, drawing progress on a terminal.

    Raises:
        Unavailable: time is up, or a process crashes again and again; carries the end of its log.
    """
    deadline = clock.monotonic_s() + options.ready_timeout_s
    bar = Progress(
        TextColumn("starting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=face.err, transient=True
    )
    task = bar.add_task("start")
    table: list[Table] = []
    with Live(
        console=face.err, transient=True, refresh_per_second=8, get_renderable=lambda: Group(bar, *table)
    ) as live:
        live.auto_refresh = face.err.is_terminal
        while True:
            current = status(home)
            bar.update(task, total=len(current.processes), completed=sum(p.state == "ready" for p in current.processes))
            table[:] = [render_processes(current)]
            if current.ready:
                return current
            _check_progress(home, current, expired=clock.monotonic_s() > deadline)
            clock.sleep(POLL_S)


def _check_progress(home: Home, current: StackStatus, *, expired: bool) -> None:
    for process in current.processes:
        failing = process.state != "ready" and len(process.crashes) >= FAILED_STARTS
        if failing or (expired and process.state != "ready"):
            last = [line for line in tail(Path(process.log), 40) if line.strip()][-3:]
            raise Unavailable(
                "process crashes again and again" if failing else "process is not ready in time",
                context={"process": process.name, "state": process.state, "log_end": " | ".join(last)},
                hint=f"`headrace logs {process.name} --home {home.root}`; then `headrace doctor`",
            )


def _down(face: Face, home: Home) -> None:
    clock = SystemClock()
    begun = clock.monotonic_s()
    was_up = find_status(home) is not None
    cleaned = stop_stack(home, clock=clock)
    face.show(DownResult(was_up or bool(cleaned), round(clock.monotonic_s() - begun, 1), cleaned), _render_down)


def _status(face: Face, home: Home, watch: bool) -> None:
    if not watch or face.as_json:
        face.show(
            status(home), lambda current, out: print_whole(out, Group(render_processes(current), _footer(current)))
        )
        return
    clock = SystemClock()
    with Live(console=face.out, refresh_per_second=4) as live:
        while True:
            current = status(home)
            live.update(Group(render_processes(current), _footer(current)))
            clock.sleep(1.0)


def _doctor(face: Face, home: Home, config: Path | None) -> None:
    findings = examine(home, load_stack_options(home, config), find_assets())
    face.show(findings, _render_findings)
    if any(finding.state == "fail" for finding in findings):
        raise SystemExit(1)


def _logs(face: Face, home: Home, name: str, *, lines: int, follow: bool) -> None:
    path = home.logs / f"{name}.log"
    if not path.is_file():
        known = sorted(entry.stem for entry in home.logs.glob("*.log")) or process_names(StackOptions())
        close = ", ".join(nearest(name, known)) or ", ".join(known)
        raise NotFound("no log of that name", context={"name": name, "home": home.root}, hint=f"there are: {close}")
    if lines < 0:
        raise Invalid("number of lines is negative", context={"lines": lines}, hint="say `--lines 100`")
    if face.as_json:
        face.show({"name": name, "path": str(path), "lines": tail(path, lines)}, lambda _, __: None)
        return
    for line in tail(path, lines):
        print(line)
    if follow:
        _follow(path, clock=SystemClock())


def _follow(path: Path, *, clock: Clock) -> None:
    """Print what is appended; a rotated file is opened anew."""
    file = path.open("r", encoding="utf-8", errors="replace")
    file.seek(0, os.SEEK_END)
    try:
        while True:
            text = file.read()
            if text:
                sys.stdout.write(text)
                sys.stdout.flush()
                continue
            if path.exists() and path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                file.close()
                file = path.open("r", encoding="utf-8", errors="replace")
            clock.sleep(POLL_S)
    finally:
        file.close()


def render_processes(current: StackStatus) -> Table:
    """The table of processes."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("process", "state", "pid", "up", "start", "restarts", "cpu", "memory", "endpoint"):
        table.add_column(
            column, justify="right" if column in {"pid", "up", "start", "restarts", "cpu", "memory"} else "left"
        )
    for process in current.processes:
        table.add_row(*_row(process, current.at_ms))
    return table


def _row(process: ProcessStatus, at_ms: int) -> Sequence[str | Text]:
    state = f"{process.state} (crash loop)" if process.looping and process.state != "ready" else process.state
    uptime = _duration((at_ms - process.started_at_ms) // 1000) if process.pid else ""
    return (
        process.name,
        Text(state, style=_COLOURS.get(process.state, "")),
        str(process.pid or ""),
        uptime,
        f"{process.start_ms / 1000:.1f} s" if process.start_ms else "",
        Text(str(process.restarts), style="red" if process.restarts else "dim"),
        f"{process.cpu_percent:.0f} %" if process.pid else "",
        f"{process.rss_bytes >> 20} MiB" if process.pid else "",
        process.log_problem or process.endpoint,
    )


def _duration(seconds: int) -> str:
    hours, rest = divmod(max(0, seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def _footer(current: StackStatus) -> Text:
    ready = sum(process.state == "ready" for process in current.processes)
    return Text(
        f"\n{ready} of {len(current.processes)} ready · home {current.home} · supervisor {current.supervisor_pid}",
        style="dim",
    )


def print_whole(out: Console, what: RenderableType) -> None:
    """Print a table; into a file or pipe with room for all of it (rich takes a `width` no greater than the console's own)."""
    if not out.is_terminal:
        out.width = PLAIN_WIDTH
    out.print(what)


def _render_up(result: UpResult, out: Console) -> None:
    print_whole(out, render_processes(result.status))
    out.print(
        f"\n[green]ready[/] after {result.seconds} s · console {result.status.endpoints.headraced}", highlight=False
    )


def _render_already_up(result: UpResult, out: Console) -> None:
    out.print(
        f"already up, nothing to do · {len(result.status.processes)} processes · console {result.status.endpoints.headraced}",
        highlight=False,
    )


def _render_down(result: DownResult, out: Console) -> None:
    if not result.was_up:
        out.print("nothing was running here")
        return
    extra = f" (cleaned up after a killed supervisor: {', '.join(result.orphans)})" if result.orphans else ""
    out.print(f"stopped after {result.seconds} s{extra}", highlight=False)


def _render_findings(findings: list[Finding], out: Console) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    marks = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red bold]fail[/]"}
    for finding in findings:
        hint = Text(f"  → {finding.hint}", style="cyan") if finding.hint else Text("")
        table.add_row(marks[finding.state], finding.name, Text(finding.value).append_text(hint))
    print_whole(out, table)
