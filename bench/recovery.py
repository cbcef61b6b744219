"""How long a lost host costs a job: `python bench/recovery.py [--json] [--quick] [--seed N] [--repeats N]`.

Starts the failure lab (4 hosts as network namespaces, Kafka, a stateful exactly-once job from Kafka to Kafka at 400 records/s,
parallelism 4, checkpoints every second) and causes each fault again and again, 30 times (3 with --quick), victims and moments by a
printed seed. Then the same cluster without Hawk and with Flink's own defaults, fewer times, since each takes a minute. Needs
root and iptables. Times are seconds; the phases are those of docs/concepts/hawk.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from headrace.core.clock import SystemClock
from headrace.core.errors import HeadraceError
from headrace.core.home import Home
from headrace.core.rand import seeded
from headrace.guard.lab import network
from headrace.guard.lab.cluster import LabCluster, LabSetup
from headrace.guard.lab.experiment import Experiment, Outcome, Plan
from headrace.guard.lab.timeline import Timeline, render, summarize

CASES = ("host_dead", "process_dead", "frozen", "cut")
STOCK_CASES = ("host_dead", "process_dead")
REPEATS, STOCK_REPEATS = 30, 5
QUICK_REPEATS, QUICK_STOCK_REPEATS = 3, 1
SEED = 5


def measure(setup: LabSetup, cases: Sequence[str], repeats: int, seed: int) -> Outcome:
    """All faults on one cluster."""
    clock = SystemClock()

    def report(timeline: Timeline) -> None:
        print(render(timeline), file=sys.stderr, flush=True)

    with (
        tempfile.TemporaryDirectory(prefix="headrace-lab-") as folder,
        LabCluster(Home(Path(folder)), setup, clock=clock) as lab,
    ):
        plan = Plan(cases=cases, repeats=repeats)
        return Experiment(lab, plan, clock=clock, random=seeded(seed), report=report).run()


def by_case(outcome: Outcome) -> dict[str, dict[str, dict[str, float]]]:
    """Quantiles of all phases, by fault."""
    cases = {timeline.case: None for timeline in outcome.timelines}
    return {case: summarize([each for each in outcome.timelines if each.case == case]) for case in cases}


def books(outcome: Outcome) -> dict[str, int]:
    """The balance of a run."""
    kept = outcome.books
    return {"produced": kept.produced, "lost": kept.lost, "doubled": kept.doubled, "miscounted": kept.miscounted}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--no-stock", action="store_true")
    chosen = parser.parse_args()
    try:
        network.check()
    except HeadraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    repeats = chosen.repeats or (QUICK_REPEATS if chosen.quick else REPEATS)
    print(f"seed {chosen.seed}, {repeats} injections of each fault", file=sys.stderr)
    outcome = measure(LabSetup(), chosen.cases.split(","), repeats, chosen.seed)
    result: dict[str, object] = {**by_case(outcome), "seed": chosen.seed, "books": books(outcome)}
    result["zombie_cpu_ms_max"] = max((each.zombie_cpu_ms or 0 for each in outcome.timelines), default=0)
    if not chosen.no_stock:
        times = QUICK_STOCK_REPEATS if chosen.quick else STOCK_REPEATS
        stock = measure(LabSetup(stock=True), STOCK_CASES, times, chosen.seed)
        result["stock"] = {**by_case(stock), "books": books(stock)}
    if chosen.json:
        print(json.dumps(result))
    else:
        print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
