"""The Nexmark part of `bench/state.py`: the queries with state, events per second and a hash of the final rows per backend.

Events are a pure function of their number (java/state-bench, EventGenerator), so every backend sees the same; the sink folds
the changelog into a hash of the final rows, which must equal hashmap's. Time runs from the first event to the sink's
end of input: start-up and planning are not in it. Queries lie in bench/nexmark/, one file each.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from state_flink import Job, run_jobs
from state_setup import Backend, ForkFailed, Run

QUERIES = Path(__file__).with_name("nexmark")
NAMES = ("q3", "q4", "q5", "q7", "q8", "q9", "q11", "q12", "q15", "q16", "q17", "q18", "q19", "q20")
NAMES_QUICK = ("q4", "q9", "q18", "q20")
# q12 counts by the wall clock, and its last window never fires in a bounded run: its rows differ by nature.
NOT_COMPARABLE = frozenset({"q12"})
EVENTS = 5_000_000
EVENTS_QUICK = 1_000_000
RATE_PER_S = 100_000
# Chained operators hand rows over instead of copying them: the copies of the source's wide rows would be most of the time.
OPTIONS = {"pipeline.object-reuse": "true"}
BACKENDS = ("slimbase", "rocksdb", "hashmap")
# Of rocksdb, to decide whether a fork still fits.
TYPICAL_EVENTS_PER_S = 80_000


def measure(run: Run) -> dict[str, Any]:
    """Per query and backend events/s, final rows and their hash; per query the ratios; their geometric means."""
    names = [name for name in (NAMES_QUICK if run.quick and not run.cases else NAMES) if run.wants(name)]
    backends = [one for one in run.backends if one.name in BACKENDS]
    events = EVENTS_QUICK if run.quick else EVENTS
    # A query at a time, so that the backends of one comparison run close together; a quick run saves the JVMs' starts.
    groups = [names] if run.quick else [[name] for name in names]
    plan = [(group, backend) for _ in range(run.repeats or 1) for group in groups for backend in backends]
    taken: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in names}
    with run.bar("nexmark", len(plan)) as bar:
        for group, backend in plan:
            bar.now(f"{','.join(group)} {backend.name}")
            for name, figures in _run(group, backend, events, run).items():
                taken[name].setdefault(backend.name, []).append(figures)
            bar.step()
    queries = {name: _compared(name, of_backends) for name, of_backends in taken.items() if of_backends}
    return {"nexmark": {"events": events, "event_rate_per_s": RATE_PER_S, "queries": queries, **means(queries)}}


def _run(names: Sequence[str], backend: Backend, events: int, run: Run) -> dict[str, dict[str, Any]]:
    """Run the queries in one fork; figures of those that ended well."""
    if not run.deadline.has(10 + len(names) * events / TYPICAL_EVENTS_PER_S):
        run.leave_out(f"nexmark {','.join(names)} {backend.name}", "no time left")
        return {}
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="nexmark-") as folder:
        files = {name: (Path(folder, f"{name}-start"), Path(folder, f"{name}-result")) for name in names}
        try:
            outcomes = run_jobs(backend, [job(name, events, *files[name]) for name in names], OPTIONS)
        except ForkFailed as error:
            outcomes = [{"name": name, "error": str(error)} for name in names]
        for outcome in outcomes:
            name = outcome["name"]
            if "error" in outcome or not files[name][1].is_file():
                run.leave_out(f"nexmark {name} {backend.name}", outcome.get("error", "the sink wrote no result"))
            else:
                figures[name] = figures_of(events, *files[name], outcome)
                run.console.print(f"{name} {backend.name}: {figures[name]['events_per_s']} events/s")
    return figures


def figures_of(events: int, start: Path, result: Path, outcome: dict[str, Any]) -> dict[str, Any]:
    """Rate, rows and their hash of a query that ran, from its source's and its sink's files."""
    folded = json.loads(result.read_text("utf-8"))
    seconds = (folded["end_ms"] - int(start.read_text("utf-8"))) / 1_000
    return {
        "events_per_s": round(events / seconds),
        "seconds": seconds,
        "rows": folded["rows"],
        "changes": folded["changes"],
        "hash": folded["hash"],
        "wall_s": outcome["wall_s"],
    }


def job(name: str, events: int, start: Path, result: Path) -> Job:
    """A query over so many events; the source writes when it began, the sink what came out."""
    tables = QUERIES.joinpath("tables.sql").read_text("utf-8")
    tables = tables.format(events=events, rate=RATE_PER_S, start_path=start)
    columns, query = read_query(name)
    sink = f"CREATE TABLE folded ({columns}) WITH ('connector' = 'fold', 'result-path' = '{result}')"
    return Job(name, (*statements(tables), sink), f"INSERT INTO folded {query}")


def read_query(name: str) -> tuple[str, str]:
    """Columns of the query's result (its file's first line, a comment) and the query."""
    head, _, query = QUERIES.joinpath(f"{name}.sql").read_text("utf-8").partition("\n")
    return head.removeprefix("-- ").strip(), query.strip().rstrip(";")


def statements(text: str) -> tuple[str, ...]:
    """Statements of a file that holds no semicolon elsewhere."""
    return tuple(part.strip() for part in text.split(";") if part.strip())


def _compared(name: str, taken: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        backend: {**runs[0], "events_per_s": round(statistics.median(one["events_per_s"] for one in runs))}
        for backend, runs in taken.items()
    }
    if name in NOT_COMPARABLE:
        same: bool | None = None
    else:
        same = len({(one["rows"], one["hash"]) for runs in taken.values() for one in runs}) == 1
    ours = figures.get("slimbase")
    ratios = {
        f"ratio_vs_{peer}": round(ours["events_per_s"] / theirs["events_per_s"], 2)
        for peer, theirs in figures.items()
        if ours and peer != "slimbase"
    }
    return {**figures, "same_results": same, **ratios}


def means(queries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Geometric means of the ratios over all queries, and whether all comparable results were the same."""
    found: dict[str, Any] = {}
    for peer in ("rocksdb", "hashmap"):
        ratios = [query[f"ratio_vs_{peer}"] for query in queries.values() if f"ratio_vs_{peer}" in query]
        if ratios:
            found[f"geometric_mean_vs_{peer}"] = round(geometric_mean(ratios), 3)
    known = [query["same_results"] for query in queries.values() if query["same_results"] is not None]
    return {**found, "all_results_same": bool(known) and all(known)}


def geometric_mean(ratios: Sequence[float]) -> float:
    """The n-th root of the product."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))
