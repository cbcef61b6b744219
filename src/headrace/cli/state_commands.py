"""`headrace state inspect | query`: look into a checkpoint or savepoint of a running or dead job, without a cluster.

What is drawn is in `state_views`. Reading more than `BAR_BYTES_MIN` shows a bar while it lasts, where a person looks on and nothing else is
printed to the terminal meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from headrace.cli.face import Face, run
from headrace.cli.state_views import render_inspection, render_records
from headrace.core.errors import Invalid, nearest
from headrace.state.progress import Tell
from headrace.state.query import StateQuery, find_state, key_text, plain
from headrace.state.report import inspect_checkpoint

PathArgument = Annotated[
    Path,
    cyclopts.Parameter(
        help="folder of a checkpoint (chk-N) or savepoint, or a job's checkpoint folder: then its newest"
    ),
]
JsonOption = Annotated[
    bool, cyclopts.Parameter(name="--json", negative="", help="print JSON: one object, or for rows one a line")
]
ExactOption = Annotated[
    bool,
    cyclopts.Parameter(
        name="--exact", negative="", help="count keys by reading all values, however large the state is [up to 16 MiB]"
    ),
]
OperatorOption = Annotated[
    str,
    cyclopts.Parameter(
        name="--operator",
        help="the operator's uid, name or a part of it, or the first digits of its id [the only one]",
    ),
]
StateOption = Annotated[
    str, cyclopts.Parameter(name="--state", help="the state's name, or a part that only one has [the only one]")
]
KeyOption = Annotated[
    str | None,
    cyclopts.Parameter(name="--key", help="only this key; fields of a row with commas between, or as JSON list"),
]
LimitOption = Annotated[
    int | None,
    cyclopts.Parameter(
        name="--limit", help="at most so many rows, 0 for all [100 on a terminal, all with --json and --out]"
    ),
]
OutOption = Annotated[
    Path | None, cyclopts.Parameter(name="--out", help="write the rows to this file: .parquet or .arrow")
]
TABLE_ROWS = 100  # shown when nothing else is said: a screen or three
NEAR_KEYS = 1_000  # looked at for keys like one that was not found; a fraction of a second
BAR_BYTES_MIN = 4 << 20  # reading less takes a second or two


class Written(msgspec.Struct, frozen=True):
    """What `--out` wrote."""

    path: str
    rows: int
    operator: str
    state: str


def inspect_command(path: PathArgument, /, *, exact: ExactOption = False, as_json: JsonOption = False) -> None:
    """Show what a checkpoint or savepoint holds: operators, states, keys, bytes, TTL, serializers, skew by key group."""

    def inspect(face: Face) -> None:
        with reading_bar(face) as tell:
            found = inspect_checkpoint(path, exact=exact, tell=tell)
        face.show(found, render_inspection)

    run(inspect, as_json=as_json)


def query_command(
    path: PathArgument,
    /,
    *,
    operator: OperatorOption = "",
    state: StateOption = "",
    key: KeyOption = None,
    limit: LimitOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the rows of one state, decoded; or write them as Parquet or Arrow."""
    run(lambda face: _query(face, find_state(path, operator=operator, state=state), key, limit, out), as_json=as_json)


def _query(face: Face, query: StateQuery, key: str | None, limit: int | None, out: Path | None) -> None:
    if limit is not None and limit < 0:
        raise Invalid(f"a limit of {limit}", hint="give 0 for all rows")
    if query.unknown_serializers:
        face.say(f"values of {', '.join(query.unknown_serializers)} are shown as hex: this serializer cannot be read")
    if out is not None:
        rows = _write(face, query, key, limit or 0, out)
    elif face.as_json:
        rows = _json_lines(face, query, key, limit or 0)
    else:
        rows = _table(face, query, key, TABLE_ROWS if limit is None else limit)
    if key is not None and not rows:
        _say_near_keys(face, query, key)


def _json_lines(face: Face, query: StateQuery, key: str | None, limit: int) -> int:
    rows = 0
    with reading_bar(face, prints_rows=True) as tell:
        for record in query.records(key, limit=limit, tell=tell):
            sys.stdout.write(msgspec.json.encode(plain(record)).decode() + "\n")
            rows += 1
    return rows


def _table(face: Face, query: StateQuery, key: str | None, limit: int) -> int:
    with reading_bar(face) as tell:
        records = query.records(key, tell=tell)
        shown = list(islice(records, limit) if limit else records)
        more = bool(limit) and next(records, None) is not None
    render_records(query, shown, face.out)
    if more:
        face.say(f"more rows are there: --limit 0 shows all, this was {limit}")
    return len(shown)


def _write(face: Face, query: StateQuery, key: str | None, limit: int, out: Path) -> int:
    # pyarrow takes longer to import than a checkpoint to read
    from headrace.state.export import write_rows  # noqa: PLC0415

    with reading_bar(face) as tell:
        rows = write_rows(query.records(key, limit=limit, tell=tell), out)
    written = Written(str(out), rows, query.operator, query.state)
    face.show(written, lambda done, console: console.print(f"{done.rows} rows in {escape(done.path)}", highlight=False))
    return rows


def _say_near_keys(face: Face, query: StateQuery, key: str) -> None:
    known = list(dict.fromkeys(key_text(row.key) for row in islice(query.rows(), NEAR_KEYS)))
    if known:
        near = nearest(key, known) or known[:3]
        face.say(f"no key {escape(key)}; there are such as {escape('; '.join(near))}")


@contextmanager
def reading_bar(face: Face, *, prints_rows: bool = False) -> Iterator[Tell | None]:
    """A bar on stderr for long reads; None where nobody looks, or where rows appear on the same terminal meanwhile."""
    if not face.err.is_terminal or (prints_rows and sys.stdout.isatty()):
        yield None
        return
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=face.err, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("", visible=False)

        def tell(done_bytes: int, total_bytes: int) -> None:
            progress.update(task, completed=done_bytes, total=total_bytes, visible=total_bytes >= BAR_BYTES_MIN)

        yield tell


state = cyclopts.App(name="state", help="State of jobs in checkpoints and savepoints.")
state.command(inspect_command, name="inspect")
state.command(query_command, name="query")
