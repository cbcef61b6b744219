"""How long a lost host costs a job: `python bench/recovery.py [--json] [--quick] [--seed N] [--repeats N] [--parts FILE]`.

Starts the failure lab (4 hosts as network namespaces, Kafka, a stateful exactly-once job from Kafka to Kafka at 400 records/s,
parallelism 4, checkpoints every second) and causes each fault again and again, 30 times (3 with --quick), victims and moments by a
printed seed. Then a cluster with two JobManagers on hosts of their own and three ZooKeeper peers, where the leader's host vanishes
(`jobmanager_dead`). Then the same clusters without Hawk and with Flink's own defaults, fewer times, since each takes a minute. Needs
root and iptables. Times are seconds; the phases are those of docs/concepts/hawk.md.

With --state-gb the job holds that much keyed state besides, in the product's own backend; with --set Flink has another setting. Those injections are
reported apart.

All of it takes hours. With --parts the file keeps every injection, and what is printed is over all that it holds, so that the bench can be
run in pieces: give each its own --seed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

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
FAILOVER_CASE, FAILOVER_KEY = "jm_host_dead", "jobmanager_dead"
REPEATS, STOCK_REPEATS = 30, 5
QUICK_REPEATS, QUICK_STOCK_REPEATS = 3, 1
SEED = 5
GB = 1_000_000_000


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The injections of one cluster: whether it had Flink's defaults and no Hawk, the seed of victims and moments, what came of it, how much state its job held, settings of Flink besides the profile."""

    stock: bool
    seed: int
    outcome: Outcome
    state_gb: float = 0.0
    settings: dict[str, str] = {}

    @property
    def variant(self) -> str:
        """What is not as it is shipped, or nothing; variants are reported apart."""
        state = [f"state_{self.state_gb:g}_gb"] if self.state_gb else []
        return " ".join((*state, *(f"{key}={value}" for key, value in self.settings.items())))

    @property
    def failover(self) -> bool:
        """Whether it was the cluster with two JobManagers."""
        return any(timeline.case == FAILOVER_CASE for timeline in self.outcome.timelines)


def measure(setup: LabSetup, cases: Sequence[str], repeats: int, seed: int, state_gb: float) -> Part:
    """All faults on one cluster."""
    clock = SystemClock()

    def report(timeline: Timeline) -> None:
        print(render(timeline), file=sys.stderr, flush=True)

    # It stays when the experiment cannot be done: its logs say why.
    folder = Path(tempfile.mkdtemp(prefix="headrace-lab-"))
    with LabCluster(Home(folder), setup, clock=clock) as lab:
        plan = Plan(cases=cases, repeats=repeats, state_bytes=int(state_gb * GB))
        outcome = Experiment(lab, plan, clock=clock, random=seeded(seed), report=report).run()
    shutil.rmtree(folder)
    if outcome.stopped:
        print(outcome.stopped, file=sys.stderr)
    return Part(stock=setup.stock, seed=seed, outcome=outcome, state_gb=state_gb, settings=setup.settings)


def by_case(timelines: Sequence[Timeline]) -> dict[str, dict[str, dict[str, float]]]:
    """Quantiles of all phases, by fault."""
    cases = {timeline.case: None for timeline in timelines}
    return {
        FAILOVER_KEY if case == FAILOVER_CASE else case: summarize([each for each in timelines if each.case == case])
        for case in cases
    }


def balance(parts: Iterable[Part]) -> dict[str, int]:
    """The books of all clusters together."""
    books = [part.outcome.books for part in parts]
    names = ("produced", "lost", "doubled", "miscounted")
    return {name: sum(getattr(each, name) for each in books) for name in names}


def describe(parts: Sequence[Part]) -> dict[str, object]:
    """What is printed of clusters of one kind."""
    timelines = [timeline for part in parts for timeline in part.outcome.timelines]
    found: dict[str, object] = dict(by_case(timelines))
    found["restarts_max"] = max((each.restarts for each in timelines), default=0)
    problems = [f"{each.case} on {each.host}: {each.problem}" for each in timelines if each.problem]
    problems += [part.outcome.stopped for part in parts if part.outcome.stopped]
    if problems:
        found["problems"] = problems
    for key, kind in (("books", False), (f"{FAILOVER_KEY}_books", True)):
        alike = [part for part in parts if part.failover is kind]
        if alike:
            found[key] = balance(alike)
    return found


def total(parts: Sequence[Part]) -> dict[str, object]:
    """All of the result."""
    shipped = [part for part in parts if not part.variant]
    ours, stock = ([part for part in shipped if part.stock is kind] for kind in (False, True))
    result: dict[str, object] = {"seeds": sorted({part.seed for part in parts}), **describe(ours)}
    timelines = [timeline for part in parts if not part.stock for timeline in part.outcome.timelines]
    result["zombie_cpu_ms_max"] = max((each.zombie_cpu_ms or 0 for each in timelines), default=0)
    if stock:
        result["stock"] = describe(stock)
    for variant in sorted({part.variant for part in parts if part.variant}):
        alike = [part for part in parts if part.variant == variant]
        checkpoint_bytes = [part.outcome.state_bytes for part in alike]
        result[variant] = {"checkpoint_bytes": checkpoint_bytes, **describe(alike)}
    return result


def load_parts(path: Path | None) -> list[Part]:
    """What earlier runs have left."""
    if path is None or not path.exists():
        return []
    return [msgspec.json.decode(line, type=Part) for line in path.read_bytes().splitlines()]


def read_setting(word: str) -> tuple[str, str]:
    """Key and value of KEY=VALUE."""
    key, equals, value = word.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{word!r} is not KEY=VALUE")
    return key, value


def choose(chosen: argparse.Namespace) -> list[tuple[LabSetup, Sequence[str], int]]:
    """The clusters to start, what is done to each and how often."""
    repeats = chosen.repeats or (QUICK_REPEATS if chosen.quick else REPEATS)
    stock_repeats = chosen.stock_only * chosen.repeats or (QUICK_STOCK_REPEATS if chosen.quick else STOCK_REPEATS)
    cases = chosen.cases.split(",")
    stock_cases = [case for case in cases if case in STOCK_CASES]
    if chosen.state_gb or chosen.settings:
        return [(LabSetup(warm=True, settings=dict(chosen.settings)), cases, repeats)]
    plans: list[tuple[LabSetup, Sequence[str], int]] = []
    for stock, times, faults in ((False, repeats, cases), (True, stock_repeats, stock_cases)):
        if (chosen.no_stock and stock) or (chosen.stock_only and not stock):
            continue
        if faults and not chosen.failover_only:
            plans.append((LabSetup(stock=stock, warm=not stock), faults, times))
        if not chosen.no_failover:
            plans.append((LabSetup(failover=True, stock=stock, warm=not stock), (FAILOVER_CASE,), times))
    return plans


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--repeats", type=int, default=0, help="of each fault")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--no-stock", action="store_true")
    parser.add_argument("--stock-only", action="store_true", help="Flink's own defaults alone")
    parser.add_argument("--no-failover", action="store_true", help="without the JobManager's host")
    parser.add_argument("--failover-only", action="store_true", help="the JobManager's host alone")
    parser.add_argument(
        "--state-gb",
        type=float,
        default=0.0,
        help="of keyed state that the job holds; without the JobManager's host and Flink's defaults",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        type=read_setting,
        metavar="KEY=VALUE",
        help="of Flink's, besides the profile; as --state-gb",
    )
    parser.add_argument("--parts", type=Path, help="file of injections that this run adds to, and counts")
    chosen = parser.parse_args()
    if (chosen.state_gb or chosen.settings) and (chosen.stock_only or chosen.failover_only):
        parser.error(
            "--state-gb and --set are for the cluster with Hawk and one JobManager: leave --stock-only and --failover-only out"
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a lab takes its hosts along
    try:
        network.check()
    except HeadraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    parts = load_parts(chosen.parts)
    for setup, cases, repeats in choose(chosen):
        print(f"seed {chosen.seed}: {repeats} times {', '.join(cases)}", file=sys.stderr)
        parts.append(measure(setup, cases, repeats, chosen.seed, chosen.state_gb))
        if chosen.parts is not None:
            with chosen.parts.open("ab") as file:
                file.write(msgspec.json.encode(parts[-1]) + b"\n")
    print(json.dumps(total(parts), indent=None if chosen.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
