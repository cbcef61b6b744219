"""The scheduler's guarantees (docs of the app, after applications.md 1.4) measured: `python bench/scheduler.py [--json] [--sessions N]`.

Simulated audience that reacts to the weights (headrace.flows.cdn.simulate), 12,000 sessions in five cells unless told
otherwise, plus the CPU that one round over many cells takes. Exit code 1 if a guarantee is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from headrace.core.rand import seeded
from headrace.flows.cdn.model import CellKey, CellRow, Rules
from headrace.flows.cdn.scheduler import Scheduler
from headrace.flows.cdn.simulate import START_MS, Fault, Outcome, Simulation, World
from headrace.serve.cdns import Cdn

CUT_S, HEALED_S = 60, 180
CUT = Fault("A", CUT_S, HEALED_S, share=0.8)
LAB = CellKey("lab", "lab")


def _world(sessions: int, *faults: Fault, seconds: int, headroom: float = 3.3, **changes: object) -> Outcome:
    cells = {CellKey("north", "unicom"): 0.33, CellKey("north", "telecom"): 0.25, CellKey("east", "telecom"): 0.25}
    audience = {cell: int(share * sessions) for cell, share in cells.items()}
    audience |= {CellKey("south", "mobile"): sessions - sum(audience.values()) - 10, LAB: 10}
    cdns = tuple(Cdn(name, (), sessions * headroom / 2, 1.0, 0.02) for name in "AB")
    fields: dict[str, object] = {"audience": audience, "cdns": cdns, "seconds": seconds, "faults": faults, **changes}
    world = World(**fields)  # type: ignore[arg-type]
    return Simulation(world, Rules(), random=seeded(world.seed)).run()


def _guarantee(name: str, measured: float, bound: float) -> dict[str, object]:
    return {"name": name, "measured": round(measured, 4), "bound": bound, "passed": measured <= bound}


def measure_fault(sessions: int) -> list[dict[str, object]]:
    """A CDN fails for two minutes and heals."""
    outcome = _world(sessions, CUT, seconds=400)
    left = [(one.at_ms - START_MS) / 1_000 - CUT_S for one in outcome.decisions if one.action == "evacuate"]
    goal = 0.2 * outcome.load[CUT_S - 1]["A"]
    moved = next(at for at, load in enumerate(outcome.load[CUT_S:]) if load["A"] <= goal)
    return [
        _guarantee("fault: last cell decides, s", max(left), 3.5),
        _guarantee("fault: 80 % of the share has moved, s", moved, 60),
        _guarantee("fault: leader changes", outcome.leader_changes(), 1),
        _guarantee("fault: switches per session, max", max(outcome.switches), 2),
        _guarantee("healed: distance from even weights 220 s later", abs(outcome.weights[-1]["A"] - 0.5), 0.05),
    ]


def measure_lab() -> list[dict[str, object]]:
    """Four players."""
    fault = Fault("A", CUT_S, HEALED_S, share=1.0)
    outcome = _world(10, fault, seconds=80, audience={LAB: 4}, stall_share=0.0)
    first = next(one for one in outcome.decisions if one.action == "evacuate")
    return [_guarantee("four players: decision, s", (first.at_ms - START_MS) / 1_000 - CUT_S, 3.5)]


def measure_others(sessions: int) -> list[dict[str, object]]:
    """All bad, tight capacity, calm, blind, hidden capacity."""
    both = _world(sessions, CUT, Fault("B", CUT_S + 5, HEALED_S, share=0.8), seconds=HEALED_S - 1)
    tight = _world(sessions, CUT, seconds=240, headroom=1.4)
    calm = _world(sessions, seconds=600, stall_share=0.015)
    blind = _world(sessions, CUT, seconds=119, blind=(CUT_S - 2, 120))
    hidden = _world(sessions, Fault("A", CUT_S, 900, carries=0.15), seconds=600)
    moves = [
        sum(one.cell == cell and one.moved > 0 for one in both.decisions) for cell in {d.cell for d in both.decisions}
    ]
    peak = max(load["B"] for load in tight.load) / (sessions * 0.7)
    return [
        _guarantee("all bad: moves per cell, max", max(moves), 1),
        _guarantee("capacity: fullest CDN, share of capacity", peak, 1.0),
        _guarantee("calm 10 min, 1.5 % stalled: weights moved", calm.moved, 0.05),
        _guarantee("no input: weights moved", blind.moved, 0.0),
        _guarantee("hidden capacity loss, 9 min: leader changes", hidden.leader_changes(), 1),
    ]


def measure_cost(cells: int) -> dict[str, float]:
    """CPU of one round over many cells with two CDNs each, all with fresh rows."""
    scheduler = Scheduler(Rules())
    cdns = (Cdn("A", (), 1e6, 1.0, 0.02), Cdn("B", (), 1e6, 1.0, 0.02))
    rounds = 10
    began = time.process_time()
    for second in range(rounds):
        at_ms = START_MS + second * 1_000
        for number in range(cells):
            for cdn in ("A", "B"):
                row = CellRow(sec_ms=at_ms, region=f"r{number % 30}", isp=str(number), cdn=cdn, sessions=500, stalled=4)
                scheduler.window.add(row, now_ms=at_ms)
        scheduler.round(cdns, now_ms=at_ms + 500)
    return {"cells": cells, "cpu_ms_per_round": round((time.process_time() - began) / rounds * 1_000, 1)}


def main() -> int:
    """Print all figures; exit code 1 if a guarantee is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sessions", type=int, default=12_000)
    arguments = parser.parse_args()
    guarantees = measure_fault(arguments.sessions) + measure_lab() + measure_others(arguments.sessions)
    cost = measure_cost(100)
    if arguments.json:
        print(json.dumps({"guarantees": guarantees, "cost": cost}))
    else:
        for one in guarantees:
            print(
                f"{'ok  ' if one['passed'] else 'FAIL'} {one['name']:52} {one['measured']:>8}  (bound {one['bound']})"
            )
        print(f"     one round over {cost['cells']} cells: {cost['cpu_ms_per_round']} ms CPU")
    return 0 if all(one["passed"] for one in guarantees) else 1


if __name__ == "__main__":
    sys.exit(main())
