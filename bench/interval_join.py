"""Interval join of a hot key: how long one row takes in the operator when the other input has 100,000 rows of its key.

`python bench/interval_join.py [--json] [--quick] [--rows N] [--repeats N]`. A job in a MiniCluster; right rows join with 1 % of the left ones. Subjects:
the join that reads by range on SlimBase; Flink's on rocksdb, SlimBase and hashmap; all that for the DataStream API's operator and for SQL's. One fork of
the JVM each, in turns, and all must give the same pairs for the same rows. Figures are medians over the repeats: p50, p99 (wall time), mean CPU time of the
task's thread. Takes 8 minutes; `--quick` one repeat, `--only stream|sql` one of the operators.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from state_setup import BACKENDS, GIB, Backend, build_harness, machine, pinned, run_java

MAIN = "io.headrace.statebench.join.JoinBench"
RANGE_JOIN = "io.headrace.slimbase.join.RangeIntervalJoinOperator"
FLINKS_JOIN = "org.apache.flink.streaming.api.operators.co.IntervalJoinOperator"
SQL_JOIN = "sql"
ROWS = 100_000
REPEATS = 3
# Flink's join on rocksdb takes 5 s for 200 rows; the others go on for as long, so that collections of the heap have their share.
PROBES_MIN = 200
WARM_MS = 5_000
MEASURE_MS = 5_000
# Left rows of 100,000 with their timers are 60 MB on the heap; room for the young generation.
HEAP = "2g"


@dataclass(frozen=True)
class Subject:
    """A join on a backend."""

    operator: str
    backend: Backend
    by_range: bool = False


SUBJECTS = {
    "stream": {
        "range on slimbase": Subject(RANGE_JOIN, BACKENDS["slimbase"]),
        "flink's on rocksdb": Subject(FLINKS_JOIN, BACKENDS["rocksdb"]),
        "flink's on slimbase": Subject(FLINKS_JOIN, BACKENDS["slimbase"]),
        "flink's on hashmap": Subject(FLINKS_JOIN, BACKENDS["hashmap"]),
    },
    "sql": {
        "range on slimbase": Subject(SQL_JOIN, BACKENDS["slimbase"], by_range=True),
        "flink's on rocksdb": Subject(SQL_JOIN, BACKENDS["rocksdb"]),
        "flink's on slimbase": Subject(SQL_JOIN, BACKENDS["slimbase"]),
        "flink's on hashmap": Subject(SQL_JOIN, BACKENDS["hashmap"]),
    },
}
OURS = "range on slimbase"


class DifferentResults(Exception):
    """Two joins gave other results for the same rows."""


def measure(kinds: Sequence[str], rows: int, repeats: int, console: Console) -> dict[str, Any]:
    """Fork every subject in every repeat; medians, and how many times slower than ours each is.

    Raises:
        ForkFailed: a fork ended with an error.
        DifferentResults: two subjects disagree.
    """
    build_harness()
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {kind: {name: [] for name in SUBJECTS[kind]} for kind in kinds}
    plan = [(kind, name, subject) for _ in range(repeats) for kind in kinds for name, subject in SUBJECTS[kind].items()]
    for done, (kind, name, subject) in enumerate(plan):
        console.print(f"{done + 1} of {len(plan)}: {kind}, {name}")
        arguments = {
            "operator": subject.operator,
            "sql-by-range": int(subject.by_range),
            "rows": rows,
            "probes": PROBES_MIN,
            "warm-ms": WARM_MS,
            "measure-ms": MEASURE_MS,
            "managed-bytes": GIB,
        }
        runs[kind][name].append(run_java(MAIN, pinned(subject.backend), arguments, heap=HEAP))
    checks = {one["check"] for each in runs.values() for figures in each.values() for one in figures}
    if len(checks) != 1:
        raise DifferentResults(f"joins give different results, hashes={sorted(checks)}, runs={runs}")
    joins = {kind: {name: _medians(figures) for name, figures in each.items()} for kind, each in runs.items()}
    times = {
        kind: {
            name: {figure: round(figures[figure] / each[OURS][figure], 1) for figure in ("p50_us", "p99_us")}
            for name, figures in each.items()
            if name != OURS
        }
        for kind, each in joins.items()
    }
    result = {"bench": "interval_join", "rows": rows, "repeats": repeats, "joins": joins, "times_of_ours": times}
    return {**result, "runs": runs, "machine": machine()}


def _medians(figures: list[dict[str, Any]]) -> dict[str, float]:
    names = [name for name in figures[0] if name != "check"]
    return {name: round(statistics.median(one[name] for one in figures), 1) for name in names}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="one repeat")
    parser.add_argument("--only", choices=list(SUBJECTS), help="one of the operators")
    parser.add_argument("--rows", type=int, default=ROWS, help="left rows of the key")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    words = parser.parse_args()
    kinds = [words.only] if words.only else list(SUBJECTS)
    result = measure(kinds, words.rows, 1 if words.quick else words.repeats, Console(stderr=True))
    if words.json:
        json.dump(result, sys.stdout)
        print()
        return
    for kind, joins in result["joins"].items():
        print(f"{kind}:")
        for name, figures in joins.items():
            times = result["times_of_ours"][kind].get(name)
            ratio = f", {times['p99_us']:,} times ours at p99" if times else ""
            print(f"{name:>20}: p50 {figures['p50_us']:>10,} us, p99 {figures['p99_us']:>10,} us{ratio}")


if __name__ == "__main__":
    main()
