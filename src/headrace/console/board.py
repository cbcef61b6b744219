"""The live-quality board as a pure function of what the collectors hold.

"Now" is the `NOW_S` seconds before the newest second of the selected cells; the newest one itself is still filling. Sessions are
the mean over these seconds of the sessions heard of, stall share is a ratio of sums, in-flight age a maximum. Cells know no
rooms: a chosen room narrows the figures of `qoe_1m` (plays, join time, bitrate, rebuffer ratio, errors) only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from headrace.console.cells import Cell, CellBook, Key
from headrace.console.live_model import Board, CdnQuality, Decision, Event, Reach, Selection, Series, Steer

NOW_S = 3
CARRY_MS = 5_000  # weights are steps: a second that was not sampled has those of the last sample, for so long
JOIN_BOUNDS_MS = (250, 500, 750, 1000, 1500, 2000, 3000, 5000, 10000)


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `qoe_1m`, as far as the board uses it."""

    window_start_ms: int
    region: str
    isp: str
    cdn: str
    cid: str
    plays: int = 0
    joins: int = 0
    join_le: tuple[int, ...] = ()
    play_ms: int = 0
    stall_ms: int = 0
    br_ms: int = 0
    br_weight_ms: int = 0
    errors: int = 0
    beacons_received: int = 0
    beacons_expected: int = 0


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the collectors hold at one time."""

    book: CellBook | None = None
    steers: Sequence[Steer] = ()
    minutes: Sequence[Minute] = ()
    decisions: Sequence[Decision] = ()
    incidents: Sequence[Event] = ()
    sources: Sequence[Reach] = ()


def build_board(known: Known, selection: Selection, *, now_ms: int) -> Board:
    """The board of a selection."""
    seconds = known.book.seconds if known.book else {}
    newest_ms = max((at for at, cells in seconds.items() if any(chosen(key, selection) for key in cells)), default=0)
    window = [seconds[at] for at in range(newest_ms - NOW_S * 1000, newest_ms, 1000) if at in seconds]
    keys = known.book.keys() if known.book else set()
    steers = [steer for steer in known.steers if chosen((steer.region, steer.isp, ""), selection)]
    minutes = [row for row in known.minutes if _minute_chosen(row, selection)]
    names = sorted(
        {key[2] for key in keys if chosen(key, selection)}
        | {cdn for steer in steers for cdn in steer.weights}
        | {row.cdn for row in minutes if row.cdn != "none"}
    )
    weights = mean_weights(steers, _sessions_by_cell(window))
    cdns = [
        _cdn(name, [_column(cells, name, selection) for cells in window], minutes, weights.get(name)) for name in names
    ]
    sessions = [cdn.sessions for cdn in cdns if cdn.sessions is not None]
    waiting = sum(cell.waiting for cells in window for key, cell in cells.items() if chosen(key, selection))
    heard = sum(cell.sessions for cells in window for key, cell in cells.items() if chosen(key, selection))
    return Board(
        at_ms=now_ms,
        selection=selection,
        regions=sorted({key[0] for key in keys} | {steer.region for steer in known.steers}),
        isps=sorted({key[1] for key in keys} | {steer.isp for steer in known.steers}),
        rooms=sorted({row.cid for row in known.minutes if row.cid}),
        sources=list(known.sources),
        cell_at_ms=newest_ms or None,
        minute_at_ms=max((row.window_start_ms for row in minutes), default=None),
        sessions=sum(sessions) if sessions else None,
        stall_share=waiting / heard if heard else None,
        cdns=cdns,
        steers=steers,
        decisions=[row for row in known.decisions if chosen((row.region, row.isp, ""), selection)],
        incidents=list(known.incidents),
    )


def quality_series(book: CellBook | None, selection: Selection, weights: Series, *, since_ms: int) -> Series:
    """Sessions, stall share and in-flight age per CDN and second from the cells, joined with the recorded weights.

    `weights` has names `weight:<region>|<isp>|<cdn>` and one point a second; `since_ms` is the first second wanted.
    """
    seconds = book.seconds if book else {}
    newest_ms = max(seconds, default=0)  # still filling: it is left out until the next one begins
    at_cells = {at for at in seconds if since_ms <= at < newest_ms}
    axis = sorted(at_cells | {at for at in weights.at_ms if at >= since_ms})
    values: dict[str, list[float | None]] = {}
    sizes: Mapping[Key, Cell] = {}  # of the last second that is known: newer weights are averaged by them
    for i, at in enumerate(axis):
        cells = seconds[at] if at in at_cells else {}
        sizes = cells or sizes
        points = {
            **_cell_points(cells, selection),
            **_weight_points(weights, _at_or_before(weights.at_ms, at), sizes, selection),
        }
        for name, value in points.items():
            values.setdefault(name, [None] * len(axis))[i] = value
    return Series(axis, values)


def chosen(key: Key, selection: Selection) -> bool:
    """Whether a cell belongs to the selection."""
    return selection.region in ("", key[0]) and selection.isp in ("", key[1])


def mean_weights(steers: Iterable[Steer], sessions: Mapping[tuple[str, str], int]) -> dict[str, float]:
    """Mean weight per CDN over cells, weighted by their sessions; all cells alike while no session is known."""
    rows = [(steer, sessions.get((steer.region, steer.isp), 0)) for steer in steers]
    if not any(size for _, size in rows):
        rows = [(steer, 1) for steer, _ in rows]
    total = sum(size for _, size in rows)
    weights: dict[str, float] = {}
    for steer, size in rows:
        for cdn, weight in steer.weights.items():
            weights[cdn] = weights.get(cdn, 0.0) + weight * size / total
    return weights


def join_quantile(rows: Iterable[Minute], q: float) -> float | None:
    """A quantile of join time from the histogram, linear within its bucket; above the last bound it is that bound."""
    rows = [row for row in rows if row.joins]
    joins = sum(row.joins for row in rows)
    if not joins:
        return None
    target, below, lower = q * joins, 0, 0
    for i, bound in enumerate(JOIN_BOUNDS_MS):
        upto = sum(row.join_le[i] for row in rows if i < len(row.join_le))
        if upto >= target:
            return lower + (bound - lower) * ((target - below) / (upto - below) if upto > below else 1.0)
        below, lower = upto, bound
    return float(JOIN_BOUNDS_MS[-1])


def _minute_chosen(row: Minute, selection: Selection) -> bool:
    return chosen((row.region, row.isp, row.cdn), selection) and selection.room in ("", row.cid)


def _column(cells: Mapping[Key, Cell], cdn: str, selection: Selection) -> list[Cell]:
    return [cell for key, cell in cells.items() if key[2] == cdn and chosen(key, selection)]


def _sessions_by_cell(window: Sequence[Mapping[Key, Cell]]) -> dict[tuple[str, str], int]:
    sessions: dict[tuple[str, str], int] = {}
    for cells in window:
        for (region, isp, _), cell in cells.items():
            sessions[region, isp] = sessions.get((region, isp), 0) + cell.sessions
    return sessions


def _cdn(name: str, window: Sequence[Sequence[Cell]], minutes: Sequence[Minute], weight: float | None) -> CdnQuality:
    cells = [cell for second in window for cell in second]
    heard, waiting = sum(cell.sessions for cell in cells), sum(cell.waiting for cell in cells)
    ages = [cell.inflight_age_ms for cell in cells if cell.inflight_age_ms is not None]
    rows = [row for row in minutes if row.cdn == name]
    play_ms, stall_ms = sum(row.play_ms for row in rows), sum(row.stall_ms for row in rows)
    br_weight_ms = sum(row.br_weight_ms for row in rows)
    expected = sum(row.beacons_expected for row in rows)
    return CdnQuality(
        cdn=name,
        sessions=round(heard / len(window)) if window else None,
        stalled=round(waiting / len(window)) if window else None,
        stall_share=waiting / heard if heard else None,
        inflight_age_ms_max=max(ages, default=None),
        errors_per_s=sum(cell.errors for cell in cells) / len(window) if window else None,
        weight=weight,
        plays=sum(row.plays for row in rows) if rows else None,
        join_p50_ms=join_quantile(rows, 0.5),
        join_p95_ms=join_quantile(rows, 0.95),
        bitrate_kbps=sum(row.br_ms for row in rows) / br_weight_ms if br_weight_ms else None,
        rebuffer_ratio=stall_ms / (play_ms + stall_ms) if play_ms + stall_ms else None,
        errors=sum(row.errors for row in rows) if rows else None,
        completeness=sum(row.beacons_received for row in rows) / expected if expected else None,
    )


def _cell_points(cells: Mapping[Key, Cell], selection: Selection) -> dict[str, float | None]:
    points: dict[str, float | None] = {}
    for cdn in {key[2] for key in cells if chosen(key, selection)}:
        column = _column(cells, cdn, selection)
        heard = sum(cell.sessions for cell in column)
        points[f"sessions:{cdn}"] = heard
        points[f"stall_share:{cdn}"] = sum(cell.waiting for cell in column) / heard if heard else None
        ages = [cell.inflight_age_ms for cell in column if cell.inflight_age_ms is not None]
        points[f"inflight_age_ms:{cdn}"] = max(ages, default=0)
    return points


def _at_or_before(axis: list[int], at: int) -> int | None:
    i = bisect_right(axis, at) - 1
    return i if i >= 0 and at - axis[i] <= CARRY_MS else None


def _weight_points(
    weights: Series, i: int | None, cells: Mapping[Key, Cell], selection: Selection
) -> dict[str, float | None]:
    if i is None:
        return {}
    by_cell: dict[tuple[str, str], dict[str, float]] = {}
    for name, column in weights.values.items():
        region, isp, cdn = name.removeprefix("weight:").split("|")
        value = column[i]
        if value is not None and chosen((region, isp, cdn), selection):
            by_cell.setdefault((region, isp), {})[cdn] = value
    steers = [Steer(region=region, isp=isp, weights=split) for (region, isp), split in by_cell.items()]
    return {f"weight:{cdn}": value for cdn, value in mean_weights(steers, _sessions_by_cell([cells])).items()}
