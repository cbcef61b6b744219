"""The SQL part of `bench/state.py`: GROUP BY from PyFlink, datagen to blackhole, checkpoints on."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from state_flink import Job, run_jobs, steady_rate
from state_setup import Backend, ForkFailed, Run

MILLION = 1_000_000


@dataclass(frozen=True)
class Size:
    """Distinct keys and rows of one job; a quick run has fewer rows, on fewer backends."""

    name: str
    keys: int
    rows: int
    rows_quick: int
    repeats: int = 2


SIZES = (
    Size("0.5m", MILLION // 2, 6 * MILLION, 2 * MILLION),
    Size("3m", 3 * MILLION, 12 * MILLION, 4 * MILLION),
)
BACKENDS_QUICK = frozenset({"slimbase", "rocksdb", "hashmap"})
# RocksDB with 3 M keys does 85,000 rows/s.
SLOWEST_ROWS_PER_S = 60_000


def measure(run: Run) -> dict[str, Any]:
    """Rows per second per size and backend: of the whole job (start included) and of its steady part; ratios."""
    backends = [one for one in run.backends if not run.quick or one.name in BACKENDS_QUICK]
    sizes = [size for size in SIZES if run.wants(f"sql_{size.name}")]
    plan = [
        (size, backend)
        for size in sizes
        for _ in range(run.repeats or (1 if run.quick else size.repeats))
        for backend in backends
    ]
    taken: dict[str, dict[str, list[dict[str, float]]]] = {}
    with run.bar("sql", len(plan)) as bar:
        for size, backend in plan:
            bar.now(f"{size.name} keys, {backend.name}")
            figures = _run(size, backend, run)
            if figures:
                taken.setdefault(size.name, {}).setdefault(backend.name, []).append(figures)
            bar.step()
    raw = {
        size: {backend: _medians(runs) for backend, runs in backends_of.items()} for size, backends_of in taken.items()
    }
    return {"sql_group_by": {size: {**figures, **_ratios(figures)} for size, figures in raw.items()}}


def _run(size: Size, backend: Backend, run: Run) -> dict[str, float]:
    rows = size.rows_quick if run.quick else size.rows
    if not run.deadline.has(rows / SLOWEST_ROWS_PER_S):
        run.leave_out(f"sql {size.name} {backend.name}", "no time left")
        return {}
    try:
        outcome = run_jobs(backend, [_job(size, rows)])[0]
    except ForkFailed as error:
        outcome = {"error": str(error)}
    if "error" in outcome:
        run.leave_out(f"sql {size.name} {backend.name}", outcome["error"])
        return {}
    figures = {"rows": rows, "wall_s": outcome["wall_s"], "rows_per_s": rows / outcome["wall_s"]}
    steady = steady_rate(outcome["samples"], rows)
    return {**figures, **({"steady_rows_per_s": steady} if steady else {})}


def _job(size: Size, rows: int) -> Job:
    source = f"""CREATE TABLE source (k BIGINT, v BIGINT) WITH (
        'connector' = 'datagen', 'rows-per-second' = '1000000000', 'number-of-rows' = '{rows}',
        'fields.k.min' = '0', 'fields.k.max' = '{size.keys - 1}', 'fields.v.min' = '0', 'fields.v.max' = '1000000')"""
    sink = "CREATE TABLE sink (k BIGINT, n BIGINT, s BIGINT, m BIGINT) WITH ('connector' = 'blackhole')"
    return Job(size.name, (source, sink), "INSERT INTO sink SELECT k, COUNT(*), SUM(v), MAX(v) FROM source GROUP BY k")


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    names = {name for one in runs for name in one}
    return {name: round(statistics.median(one[name] for one in runs if name in one), 1) for name in sorted(names)}


def _ratios(figures: dict[str, dict[str, float]]) -> dict[str, Any]:
    ours = figures.get("slimbase")
    if ours is None:
        return {}
    ratios: dict[str, Any] = {}
    for figure in ("rows_per_s", "steady_rows_per_s"):
        ratios[f"ratio_{figure}"] = {
            peer: round(ours[figure] / theirs[figure], 2)
            for peer, theirs in figures.items()
            if peer != "slimbase" and figure in ours and figure in theirs
        }
    return ratios
