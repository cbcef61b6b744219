"""`headrace state inspect | query`: look into a checkpoint or savepoint of a running or dead job, without a cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from headrace.cli.face import Face, run
from headrace.core.errors import Invalid
from headrace.state.opening import CANONICAL
from headrace.state.query import StateQuery, find_state, plain, text_of
from headrace.state.report import Inspection, OperatorReport, StateReport, inspect_checkpoint
from headrace.state.tally import Skew

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
        name="--operator", help="the operator's uid, name or a part of it, or the first digits of its id"
    ),
]
StateOption = Annotated[str, cyclopts.Parameter(name="--state", help="the state's name, or a part that only one has")]
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
PLAIN_WIDTH = 160  # of tables that go into a file or a pipe
BAR = " ▁▂▃▄▅▆▇█"
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Written(msgspec.Struct, frozen=True):
    """What `--out` wrote."""

    path: str
    rows: int
    operator: str
    state: str


def inspect_command(path: PathArgument, /, *, exact: ExactOption = False, as_json: JsonOption = False) -> None:
    """Show what a checkpoint or savepoint holds: operators, states, keys, bytes, TTL, serializers, skew by key group."""
    run(lambda face: face.show(inspect_checkpoint(path, exact=exact), render_inspection), as_json=as_json)


def query_command(
    path: PathArgument,
    /,
    *,
    operator: OperatorOption,
    state: StateOption,
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
        _write(face, query, key, limit or 0, out)
    elif face.as_json:
        for record in query.records(key, limit=limit or 0):
            sys.stdout.write(msgspec.json.encode(plain(record)).decode() + "\n")
    else:
        shown = TABLE_ROWS if limit is None else limit
        records = query.records(key)
        render_records(query, list(islice(records, shown) if shown else records), face.out)
        if shown and next(records, None) is not None:
            face.say(f"more rows are there: --limit 0 shows all, this was {shown}")


def _write(face: Face, query: StateQuery, key: str | None, limit: int, out: Path) -> None:
    # pyarrow takes longer to import than a checkpoint to read
    from headrace.state.export import write_rows  # noqa: PLC0415

    rows = write_rows(query.records(key, limit=limit), out)
    written = Written(str(out), rows, query.operator, query.state)
    face.show(written, lambda done, console: console.print(f"{done.rows} rows in {escape(done.path)}", highlight=False))


def render_inspection(found: Inspection, console: Console) -> None:
    """A head line, then each operator with its states."""
    form = f" ({found.format})" if found.format else ""
    console.print(
        f"[bold]{found.kind} {found.checkpoint_id}[/]{form}  {escape(found.path)}\n{size_text(found.size_bytes)} in {found.files} files, "
        f"{len(found.operators)} operators with state, {found.stateless_operators} without",
        highlight=False,
    )
    for operator in sorted(found.operators, key=lambda one: (-len(one.states), -one.size_bytes)):
        console.print()
        render_operator(operator, console)


def render_operator(operator: OperatorReport, console: Console) -> None:
    """Its name, sizes and skew in lines, its states as a grid."""
    title = operator.uid or operator.name or "operator"
    console.print(
        f"[bold cyan]{escape(title)}[/]  [dim]{operator.id}[/]\n  parallelism {operator.parallelism} of {operator.max_parallelism}, "
        f"{size_text(operator.size_bytes)} in {operator.files} files{_backend(operator)}{_others(operator)}",
        highlight=False,
    )
    if operator.skew:
        console.print(f"  key groups {skew_text(operator.skew)}", highlight=False)
    if operator.note:
        console.print(f"  [yellow]{escape(operator.note)}[/]", highlight=False)
    if operator.states:
        _print_grid(_state_grid(operator.states), console)


def _backend(operator: OperatorReport) -> str:
    if not operator.backend:
        return ""
    return (
        ", keyed state in canonical form" if operator.backend == CANONICAL else f", keyed state by {operator.backend}"
    )


def _others(operator: OperatorReport) -> str:
    parts = [f"{state.name}: {state.partitions} {state.mode}" for state in operator.operator_states]
    parts += [f"coordinator {size_text(operator.coordinator_bytes)}"] if operator.coordinator_bytes else []
    parts += [f"in flight {size_text(operator.channel_bytes)}"] if operator.channel_bytes else []
    return f"\n  operator state: {', '.join(parts)}" if parts else ""


def _state_grid(states: Sequence[StateReport]) -> Grid:
    grid = _new_grid("  state", "kind", "keys", "entries", "bytes", "removed", "TTL", "skew", "key", "value")
    for state in states:
        about = "" if state.keys_exact else "≤ "
        grid.add_row(
            f"  {escape(state.name)}",
            state.kind,
            "?" if state.keys is None else f"{about}{state.keys:,}",
            "" if state.entries in {None, state.keys} else f"{about}{state.entries:,}",
            "?" if state.size_bytes is None else size_text(state.size_bytes),
            f"{state.tombstones:,}" if state.tombstones else "",
            ttl_text(state),
            f"{state.skew.ratio:.1f}" if state.skew else "",
            escape(_key_text(state)),
            escape(state.serializers.value) + ("[yellow] (unknown)[/]" if state.serializers.unknown else ""),
        )
    return grid


def _key_text(state: StateReport) -> str:
    names = state.serializers
    return f"{names.key} / {names.namespace}" if names.namespace else names.key


def ttl_text(state: StateReport) -> str:
    """A state's time to live, as far as the files say it."""
    if state.ttl_ms:
        return f"{state.ttl_ms / 3_600_000:g} h" if state.ttl_ms >= 3_600_000 else f"{state.ttl_ms / 1000:g} s"
    return "on" if state.ttl else ""


def skew_text(skew: Skew) -> str:
    """Bars of the key groups in order, and how far the fullest stands out."""
    return (
        f"{bars_text(skew.bars)}  {skew.filled} of {skew.key_groups} filled, "
        f"fullest {skew.max_key_group} holds {skew.max:,}, {skew.ratio:.1f} x the mean of {skew.mean:.4g}"
    )


def bars_text(values: Sequence[int]) -> str:
    """A bar of eight heights per value; any value that is not 0 is visible."""
    top = max(values, default=0) or 1
    return "".join(BAR[-(-value * (len(BAR) - 1) // top)] for value in values)


def size_text(count: int) -> str:
    """Bytes in the largest unit that keeps the number at 1 or more."""
    size, unit = float(count), 0
    while size >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{count} B" if unit == 0 else f"{size:.1f} {UNITS[unit]}"


def render_records(query: StateQuery, records: Sequence[dict[str, Any]], console: Console) -> None:
    """A grid with a column per field; a row or tuple in one column each field."""
    rows = [dict(_flat(record)) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not rows:
        console.print(f"no rows in {query.state} of {query.operator}", highlight=False)
        return
    grid = _new_grid(*names)
    for row in rows:
        grid.add_row(*(escape(row.get(name, "")) for name in names))
    _print_grid(grid, console)


def _flat(record: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in record.items():
        if name in {"last_access", "timestamp"} and isinstance(value, int):
            yield name, moment_text(value)
        elif isinstance(value, dict) and len(value) == 1:
            yield name, text_of(next(iter(value.values())))
        elif isinstance(value, dict):
            yield from ((f"{name}.{field}", text_of(item)) for field, item in value.items())
        else:
            yield name, text_of(value)


def moment_text(millisecond: int) -> str:
    """A time in ms since the epoch as UTC; the number when it is none."""
    try:
        return f"{datetime.fromtimestamp(millisecond / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return str(millisecond)


def _new_grid(*headings: str) -> Grid:
    grid = Grid(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    return grid


def _print_grid(grid: Grid, console: Console) -> None:
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    console.print(grid)


state = cyclopts.App(name="state", help="State of jobs in checkpoints and savepoints.")
state.command(inspect_command, name="inspect")
state.command(query_command, name="query")
