"""How `headrace state` draws: inspections and rows, for a terminal of any width and for a pipe.

Into a pipe every row is one line, never folded. On a terminal what does not fit is not folded letter by letter either: serializers go
on a line of their own below their state, and rows whose fields do not fit beside each other are printed field below field.
Texts come from stored state, so control characters are shown, not sent to the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from headrace.state.opening import CANONICAL
from headrace.state.query import StateQuery, text_of
from headrace.state.report import Inspection, OperatorReport, StateReport
from headrace.state.tally import Skew

BAR = " ▁▂▃▄▅▆▇█"
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
NUMBERS = frozenset({"keys", "entries", "bytes", "removed", "skew"})  # set to the right
OPTIONAL = frozenset({"entries", "removed", "TTL", "skew"})  # left out where no state has any
GAP = "  "
PAD_MAX = 120  # cells wider than this do not widen their column
FOLDED_MIN = 30  # one wide column may be folded to this, not further
SKEW_LINE = 110  # narrower terminals get the bars on a line of their own
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {9: "\\t", 10: "\\n", 13: "\\r"}

Rows = Sequence[Sequence[str]]


def render_inspection(found: Inspection, console: Console) -> None:
    """A head line, what could not be read, then each operator with its states."""
    form = f" ({found.format})" if found.format else ""
    console.print(
        f"[bold]{found.kind} {found.checkpoint_id}[/]{form}  {escape(found.path)}\n{size_text(found.size_bytes)} in {found.files} files, "
        f"{len(found.operators)} operators with state, {found.stateless_operators} without",
        highlight=False,
    )
    for note in dict.fromkeys(operator.note for operator in found.operators if operator.note):
        _print_wrapped(note, console, indent=0, style="yellow")
    operators = sorted(found.operators, key=lambda one: (-len(one.states), -one.size_bytes))
    is_wide = not console.is_terminal or all(
        width_of(rows) <= console.width for rows in (state_rows(one.states) for one in operators)
    )
    for operator in operators:
        console.print()
        render_operator(operator, console, is_wide=is_wide)


def render_operator(operator: OperatorReport, console: Console, *, is_wide: bool) -> None:
    """Its name, sizes and skew in lines, its states below each other."""
    title = operator.uid or operator.name or "operator"
    console.print(
        f"[bold cyan]{escape(visible(title))}[/]  [dim]{operator.id}[/]\n  parallelism {operator.parallelism} of {operator.max_parallelism}, "
        f"{size_text(operator.size_bytes)} in {operator.files} files{_backend(operator)}{escape(_others(operator))}",
        highlight=False,
    )
    if operator.skew:
        gap = "\n  " if console.is_terminal and console.width < SKEW_LINE else GAP
        console.print(f"  key groups {bars_text(operator.skew.bars)}{gap}{skew_text(operator.skew)}", highlight=False)
    if operator.states:
        _render_states(operator.states, console, is_wide=is_wide)


def _render_states(states: Sequence[StateReport], console: Console, *, is_wide: bool) -> None:
    rows = state_rows(states)
    head, *lines = aligned(rows if is_wide else [row[:-2] for row in rows])
    console.print(Text(head, style="bold"))
    for state, line in zip(states, lines, strict=True):
        console.print(Text(line))
        if not is_wide:
            key = f"{_key_text(state)} → " if _key_text(state) else ""
            _print_wrapped(f"{key}{_value_text(state)}", console, indent=6, style="dim")


def state_rows(states: Sequence[StateReport]) -> Rows:
    """A heading and a row per state; columns that no state has anything in are left out."""
    rows = [["  state", "kind", "keys", "entries", "bytes", "removed", "TTL", "skew", "key", "value"]]
    for state in states:
        about = "" if state.keys_exact else "≤ "
        rows.append(
            [
                f"  {visible(state.name)}",
                state.kind,
                "?" if state.keys is None else f"{about}{state.keys:,}",
                "" if state.entries in {None, state.keys} else f"{about}{state.entries:,}",
                "?" if state.size_bytes is None else size_text(state.size_bytes),
                f"{state.tombstones:,}" if state.tombstones else "",
                ttl_text(state),
                f"{state.skew.ratio:.1f}" if state.skew else "",
                _key_text(state),
                _value_text(state),
            ]
        )
    kept = [index for index, name in enumerate(rows[0]) if name not in OPTIONAL or any(row[index] for row in rows[1:])]
    return [[row[index] for index in kept] for row in rows]


def _backend(operator: OperatorReport) -> str:
    if not operator.backend:
        return ""
    return (
        ", keyed state in canonical form" if operator.backend == CANONICAL else f", keyed state by {operator.backend}"
    )


def _others(operator: OperatorReport) -> str:
    parts = [
        f"{visible(state.name)} ({state.mode}, {state.partitions} partitions)" for state in operator.operator_states
    ]
    parts += [f"coordinator {size_text(operator.coordinator_bytes)}"] if operator.coordinator_bytes else []
    parts += [f"in flight {size_text(operator.channel_bytes)}"] if operator.channel_bytes else []
    return f"\n  operator state: {', '.join(parts)}" if parts else ""


def _key_text(state: StateReport) -> str:
    names = state.serializers
    return f"{names.key} / {names.namespace}" if names.namespace else names.key


def _value_text(state: StateReport) -> str:
    return state.serializers.value + (" (unknown)" if state.serializers.unknown else "")


def ttl_text(state: StateReport) -> str:
    """A state's time to live, as far as the files say it."""
    if state.ttl_ms:
        return f"{state.ttl_ms / 3_600_000:g} h" if state.ttl_ms >= 3_600_000 else f"{state.ttl_ms / 1000:g} s"
    return "on" if state.ttl else ""


def skew_text(skew: Skew) -> str:
    """How many key groups have keys, and how far the fullest stands out."""
    return (
        f"{skew.filled} of {skew.key_groups} filled, "
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
    """A column per field; a row or tuple in one column each field. Field below field where they do not fit."""
    found = [dict(_flat(record)) for record in records]
    names = list(dict.fromkeys(name for row in found for name in row))
    if not found:
        console.print(f"no rows in {escape(query.state)} of {escape(query.operator)}", highlight=False)
        return
    rows = [names, *([row.get(name, "") for name in names] for row in found)]
    widths = _widths(rows)
    if not console.is_terminal or sum(widths) + len(GAP) * (len(names) - 1) <= console.width:
        head, *lines = aligned(rows)
        console.print(Text(head, style="bold"))
        for line in lines:
            console.print(Text(line))
    elif sum(widths) - max(widths) + len(GAP) * len(names) + FOLDED_MIN <= console.width:
        _print_folded(rows, widths.index(max(widths)), console)
    else:
        _print_below(rows, console)


def _print_folded(rows: Rows, widest: int, console: Console) -> None:
    grid = Grid(box=None, header_style="bold", pad_edge=False, padding=(0, len(GAP), 0, 0))
    for index, heading in enumerate(rows[0]):
        grid.add_column(escape(heading), overflow="fold", no_wrap=index != widest)
    for row in rows[1:]:
        grid.add_row(*(Text(text) for text in row))
    console.print(grid, soft_wrap=False)


def _print_below(rows: Rows, console: Console) -> None:
    """Field below field, rows apart from each other."""
    names, *records = rows
    for number, record in enumerate(records):
        grid = Grid(box=None, show_header=False, pad_edge=False, padding=(0, len(GAP), 0, 0))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, text in zip(names, record, strict=True):
            grid.add_row(Text(name), Text(text))
        if number:
            console.print()
        console.print(grid, soft_wrap=False)


def _flat(record: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in record.items():
        if name in {"last_access", "timestamp"} and isinstance(value, int):
            yield name, moment_text(value)
        elif isinstance(value, dict) and len(value) == 1:
            yield name, visible(text_of(next(iter(value.values()))))
        elif isinstance(value, dict):
            yield from ((f"{name}.{visible(field)}", visible(text_of(item))) for field, item in value.items())
        else:
            yield name, visible(text_of(value))


def visible(text: str) -> str:
    """The text with control characters as escapes: stored bytes must not steer a terminal or break a row into lines."""
    return text.translate(_VISIBLE)


def moment_text(millisecond: int) -> str:
    """A time in ms since the epoch as UTC; the number when it is none."""
    try:
        return f"{datetime.fromtimestamp(millisecond / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return str(millisecond)


def width_of(rows: Rows) -> int:
    """Cells that rows take beside each other."""
    widths = _widths(rows)
    return sum(widths) + len(GAP) * (len(widths) - 1)


def aligned(rows: Rows) -> list[str]:
    """Rows as lines with their columns below each other; the first row are the headings."""
    widths = [min(width, PAD_MAX) for width in _widths(rows)]
    lines = []
    for row in rows:
        cells = []
        for name, text, width in zip(rows[0], row, widths, strict=True):
            room = " " * (width - cell_len(text))
            cells.append(room + text if name in NUMBERS else text + room)
        lines.append(GAP.join(cells).rstrip())
    return lines


def _widths(rows: Rows) -> list[int]:
    return [max(cell_len(row[index]) for row in rows) for index in range(len(rows[0]))]


def _print_wrapped(text: str, console: Console, *, indent: int, style: str) -> None:
    """A sentence, on a terminal folded between words."""
    if console.is_terminal:
        console.print(Padding(Text(text, style=style), (0, 0, 0, indent)), soft_wrap=False)
    else:
        console.print(Text(" " * indent + text))
