"""The state engine against its peers: `headrace bench state --json [--quick]`, or this script, which takes more flags.

    python bench/state.py --json [--quick] [--only micro|sql|nexmark|checkpoint] [--backends a,b] [--cases a,b] [--into FILE]
    python bench/state.py --tiers --json [--quick] [--only curve|join|restore|rescale|growth|nexmark] [--cases 0.5,3] [--state-gb N] ...

Four parts: nanoseconds per operation on backends driven directly (state_micro.py), GROUP BY from PyFlink (state_sql.py), Nexmark
queries (state_nexmark.py), incremental checkpoints (state_checkpoint.py). Everything that is compared runs in the same call, backends
in turns. One JSON object ends stdout; progress goes to stderr. `--quick` takes at most 10 minutes on 2 cores: fewer
repeats, cases and rows, and what does not fit into a part's share of the time is left out and named in `left_out`. With
`--tiers` measures state that is larger than memory instead (state_tiers.py, state_restores.py, state_tiers_nexmark.py): under 40 minutes, 4 with `--quick`; needs to be allowed to limit
the memory of a process. With `--into`, parts measured in several calls come together in one file, from which state_report.py writes docs/benchmarks/state.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from memory_limit import NoLimit
from state_run import PARTS, TIER_PARTS, TIER_PARTS_DEFAULT, measure, measure_tiers, merge_runs
from state_setup import BACKENDS
from state_tiers import has_failed


def _parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--quick", action="store_true", help="at most 10 minutes")
    parser.add_argument("--tiers", action="store_true", help="state larger than memory")
    parser.add_argument("--only", choices=list({**PARTS, **TIER_PARTS}), help="one part")
    parser.add_argument("--backends", default="", help=f"some of {','.join(BACKENDS)}")
    parser.add_argument("--cases", default="", help="some cases: long_0.5m, sql_3m, q4, ...")
    parser.add_argument("--state-gb", type=float, help="size of the restored state, for restore, rescale, growth")
    parser.add_argument("--repeats", type=int, help="instead of each case's own number")
    parser.add_argument("--into", type=Path, help="JSON file to merge the result into")
    options = parser.parse_args(words)
    if options.only and options.only not in (TIER_PARTS if options.tiers else PARTS):
        parser.error(f"--only {options.only} goes {'without' if options.tiers else 'with'} --tiers")
    return options


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    console = Console(stderr=True)
    cases = options.cases.split(",") if options.cases else ()
    if options.tiers:
        return measure_tiers(
            [options.only] if options.only else TIER_PARTS_DEFAULT,
            console,
            quick=options.quick,
            backends=options.backends,
            cases=cases,
            state_bytes=int(options.state_gb * 1e9) if options.state_gb else None,
        )
    return measure(
        [options.only] if options.only else list(PARTS),
        console,
        quick=options.quick,
        backends=options.backends,
        cases=cases,
        repeats=options.repeats,
    )


def main(words: list[str] | None = None) -> int:
    """Measure and print; the exit code says whether Nexmark results were the same everywhere and no fork of the tiers failed."""
    options = _parse(words)
    try:
        result = _measure(options)
    except NoLimit as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))
    if options.into:
        old = json.loads(options.into.read_text("utf-8")) if options.into.is_file() else {}
        options.into.parent.mkdir(parents=True, exist_ok=True)
        options.into.write_text(json.dumps(merge_runs(old, result), indent=1) + "\n", "utf-8")
    compared = [
        query for part in ("nexmark", "tiers_nexmark") for query in result.get(part, {}).get("queries", {}).values()
    ]
    return 1 if has_failed(result) or any(query["same_results"] is False for query in compared) else 0


if __name__ == "__main__":
    sys.exit(main())
