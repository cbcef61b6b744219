"""The state engine against its peers: `headrace bench state --json [--quick]`, or this script, which takes more flags.

    python bench/state.py --json [--quick] [--only micro|sql|nexmark|checkpoint] [--backends a,b] [--cases a,b] [--into FILE]

Four parts: nanoseconds per operation on backends driven directly (state_micro.py), GROUP BY from PyFlink (state_sql.py), Nexmark
queries (state_nexmark.py), incremental checkpoints (state_checkpoint.py). Everything that is compared runs in the same call, backends
in turns. One JSON object ends stdout; progress goes to stderr. `--quick` takes at most 10 minutes on 2 cores: fewer
repeats, cases and rows, and what does not fit into a part's share of the time is left out and named in `left_out`. With
`--into`, parts measured in several calls come together in one file, from which state_report.py writes docs/benchmarks/state.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

import state_checkpoint
import state_micro
import state_nexmark
import state_sql
from state_setup import BACKENDS, Backend, Deadline, Run, build_harness, machine

PARTS = {
    "micro": state_micro.measure,
    "sql": state_sql.measure,
    "nexmark": state_nexmark.measure,
    "checkpoint": state_checkpoint.measure,
}
# Shares of a quick run's 10 minutes; what a part does not use goes to those after it.
QUICK_S = 570.0
QUICK_SHARES = {"micro": 0.42, "sql": 0.25, "nexmark": 0.2, "checkpoint": 0.13}
FULL_S = 6 * 3_600.0


def choose_backends(names: str, console: Console, notes: list[str]) -> tuple[Backend, ...]:
    """The named backends, or all; one whose jar was not built is left out with a note."""
    wanted = [BACKENDS[name] for name in names.split(",")] if names else list(BACKENDS.values())
    for backend in wanted:
        if not backend.is_there:
            notes.append(f"{backend.name}: its jar is not built")
            console.print(f"left out {backend.name}: no {backend.jar}, hint: run `make setup`")
    return tuple(backend for backend in wanted if backend.is_there)


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run the chosen parts one after another."""
    notes: list[str] = []
    backends = choose_backends(options.backends, console, notes)
    build_harness()
    result: dict[str, Any] = {"bench": "state", "quick": options.quick, "machine": machine()}
    parts = [name for name in PARTS if options.only in (None, name)]
    begin = time.monotonic()
    share = 0.0
    for name in parts:
        share += QUICK_SHARES[name] / sum(QUICK_SHARES[part] for part in parts)
        end_s = share * QUICK_S if options.quick else FULL_S
        deadline = Deadline(end_s - (time.monotonic() - begin))
        cases = frozenset(options.cases.split(",") if options.cases else ())
        result |= PARTS[name](Run(backends, options.quick, deadline, console, notes, cases, options.repeats))
    return {**result, "left_out": notes, "elapsed_s": round(time.monotonic() - begin, 1)}


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Both, the new one's figures where both have one."""
    merged = dict(old)
    for name, value in new.items():
        both = isinstance(value, dict) and isinstance(old.get(name), dict)
        merged[name] = merge(old[name], value) if both else value
    return merged


def merge_runs(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Results of two calls as one: notes of both, times added, means over all queries recomputed."""
    merged = merge(old, new)
    merged["left_out"] = [*old.get("left_out", []), *new.get("left_out", [])]
    merged["elapsed_s"] = round(old.get("elapsed_s", 0) + new["elapsed_s"], 1)
    if "nexmark" in merged:
        merged["nexmark"] |= state_nexmark.means(merged["nexmark"]["queries"])
    return merged


def _parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--quick", action="store_true", help="at most 10 minutes")
    parser.add_argument("--only", choices=list(PARTS), help="one part")
    parser.add_argument("--backends", default="", help=f"some of {','.join(BACKENDS)}")
    parser.add_argument("--cases", default="", help="some cases: long_0.5m, sql_3m, q4, ...")
    parser.add_argument("--repeats", type=int, help="instead of each case's own number")
    parser.add_argument("--into", type=Path, help="JSON file to merge the result into")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Measure and print; the exit code says whether Nexmark results were the same everywhere."""
    options = _parse(words)
    result = measure(options, Console(stderr=True))
    if options.into:
        old = json.loads(options.into.read_text("utf-8")) if options.into.is_file() else {}
        options.into.parent.mkdir(parents=True, exist_ok=True)
        options.into.write_text(json.dumps(merge_runs(old, result), indent=1) + "\n", "utf-8")
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))
    compared = result.get("nexmark", {}).get("queries", {}).values()
    return 1 if any(query["same_results"] is False for query in compared) else 0


if __name__ == "__main__":
    sys.exit(main())
