"""`headrace table apply | list | show` and `headrace journal`: thin over headraced's HTTP face."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import cyclopts
from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table as Grid

from headrace.catalog.journal import JournalEntry
from headrace.catalog.tables import Entry
from headrace.cli.face import Face, run
from headrace.cli.headraced_client import DEPLOY_TIMEOUT_S, Headraced
from headrace.sql.apply import Applied
from headrace.sql.project import parse_project, read_dims, read_files

HomeOption = Annotated[str | None, cyclopts.Parameter(name="--home", help="folder of the stack [.headrace]")]
JsonOption = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="print one JSON object")]
FolderArgument = Annotated[Path, cyclopts.Parameter(help="project folder: the one that holds headrace.toml")]
NameArgument = Annotated[str, cyclopts.Parameter(help="name of the table")]
LimitOption = Annotated[int, cyclopts.Parameter(name="--limit", help="newest entries to show")]
PLAIN_WIDTH = 160  # of tables that go into a file or a pipe
_ACTION_COLOURS = {"created": "green", "changed": "yellow", "unchanged": "dim"}
_OUTCOME_COLOURS = {"done": "green", "failed": "red", "begun": "yellow", "cut_off": "red"}


def apply_command(folder: FolderArgument, /, *, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Apply the tables and dims of a project folder: all of them, or none if one is wrong."""
    run(lambda face: _apply(face, folder, home), as_json=as_json)


def list_command(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the tables of the catalog."""
    run(lambda face: _list(face, home), as_json=as_json)


def show_command(name: NameArgument, /, *, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one table: columns, keys, options, declaration."""
    run(lambda face: _show(face, name, home), as_json=as_json)


def journal(*, limit: LimitOption = 30, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what people and loops did, newest first: cause, expected effect, measured effect."""
    run(lambda face: _journal(face, limit, home), as_json=as_json)


def _apply(face: Face, folder: Path, home: str | None) -> None:
    files = read_files(folder)
    project = parse_project(files)
    dims = read_dims(folder, project)
    with Headraced.of_home(home) as headraced:
        if not face.as_json:
            face.say(f"checking {len(project.tables)} tables and {len(dims)} dims of {project.name} …")
        body = {"project": project.name, "files": files, "dims": dims}
        applied = headraced.post("/v1/tables:apply", Applied, body=body, timeout_s=DEPLOY_TIMEOUT_S)
    face.show(applied, render_applied)


def _list(face: Face, home: str | None) -> None:
    with Headraced.of_home(home) as headraced:
        face.show(headraced.get("/v1/tables", list[Entry]), render_tables)


def _show(face: Face, name: str, home: str | None) -> None:
    with Headraced.of_home(home) as headraced:
        face.show(headraced.get(f"/v1/tables/{name}", Entry), render_table)


def _journal(face: Face, limit: int, home: str | None) -> None:
    with Headraced.of_home(home) as headraced:
        face.show(headraced.get("/v1/journal", list[JournalEntry], limit=limit), render_journal)


def new_grid(*headings: str) -> Grid:
    """A table without borders, whose cells fold rather than lose letters."""
    grid = Grid(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    return grid


def print_grid(grid: Grid, console: Console) -> None:
    """Print it as wide as the terminal, or as wide as a file deserves."""
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    console.print(grid)


def render_applied(applied: Applied, console: Console) -> None:
    """One line per table and dim, one per resource, one of counts."""
    for change in applied.changes:
        colour = _ACTION_COLOURS.get(change.action, "default")
        console.print(f"{change.kind:5} {change.name:28} [{colour}]{change.action:9}[/] [dim]{change.fingerprint}[/]")
    for resource in applied.resources:
        console.print(f"[cyan]+[/] {escape(resource)}", highlight=False)
    changed = sum(change.action != "unchanged" for change in applied.changes)
    console.print(f"{applied.project}: {len(applied.changes)} declared, {changed} changed", highlight=False)


def render_tables(entries: Sequence[Entry], console: Console) -> None:
    """A grid, or a sentence when there are none."""
    if not entries:
        console.print("no tables yet: `headrace table apply DIR`", highlight=False)
        return
    grid = new_grid("table", "layer", "system", "owner", "retention", "columns", "key", "project")
    for entry in entries:
        table = entry.table
        grid.add_row(
            table.name,
            table.layer,
            table.system,
            table.owner,
            table.retention or "for ever",
            str(len(table.columns)),
            ", ".join(table.primary_key),
            entry.project,
        )
    print_grid(grid, console)


def render_table(entry: Entry, console: Console) -> None:
    """Facts, columns, then the declaration as written."""
    table = entry.table
    console.print(
        f"[bold]{table.name}[/]  {table.layer} on {table.system}, owner {table.owner or 'nobody'}, "
        f"kept {table.retention or 'for ever'}, project {entry.project}, fingerprint {entry.fingerprint}",
        highlight=False,
    )
    grid = new_grid("column", "type", "kind", "comment")
    for column in table.columns:
        kind = "key" if column.name in table.primary_key else "" if column.kind == "physical" else column.kind
        grid.add_row(column.name, column.type + ("" if column.nullable else " NOT NULL"), kind, escape(column.comment))
    print_grid(grid, console)
    if table.watermark:
        console.print(f"watermark: {table.watermark[0]} as {escape(table.watermark[1])}", highlight=False)
    for key, value in sorted(table.options.items()):
        console.print(f"{key} = {escape(value)}", highlight=False)
    console.print(f"[dim]{entry.file}[/]", highlight=False)
    console.print(Syntax(table.ddl.strip(), "sql", theme="ansi_dark", background_color="default"))


def render_journal(entries: Sequence[JournalEntry], console: Console) -> None:
    """One line per action, newest first."""
    grid = new_grid("at", "actor", "action", "target", "outcome", "cause", "measured")
    for entry in entries:
        colour = _OUTCOME_COLOURS.get(entry.outcome, "default")
        at = datetime.fromtimestamp(entry.at_ms / 1000, UTC).strftime("%m-%d %H:%M:%S")
        grid.add_row(
            at,
            entry.actor,
            entry.action,
            entry.target,
            f"[{colour}]{entry.outcome}[/]",
            escape(entry.cause),
            escape(entry.measured),
        )
    print_grid(grid, console)


tables = cyclopts.App(name="table", help="Tables of the catalog.")
tables.command(apply_command, name="apply")
tables.command(list_command, name="list")
tables.command(show_command, name="show")
