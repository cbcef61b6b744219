"""Small worlds and facts that the scheduler's tests share."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headrace.core.rand import seeded
from headrace.flows.cdn.model import CdnFacts, CellFacts, CellKey, CellState, Evidence, Inputs, Rules
from headrace.flows.cdn.simulate import Fault, Outcome, Simulation, World
from headrace.serve.cdns import Cdn

NOW_MS = 1_800_000_000_000
CELL = CellKey("north", "unicom")
RULES = Rules()
CDNS = (Cdn("A", (), 2_000, 1.0, 0.02), Cdn("B", (), 2_000, 1.0, 0.02))
AUDIENCE = {CELL: 700, CellKey("east", "telecom"): 490, CellKey("lab", "lab"): 10}
NO_EVIDENCE = Evidence(0.01, 0.0, 1.0, 0.0)


def seen(share: float, n: float = 400.0, *, spread: float = 0.03) -> Evidence:
    """Evidence of `n` sessions with bounds `spread` away."""
    return Evidence(share, max(0.0, share - spread), min(1.0, share + spread), n)


def cdn_facts(
    name: str, evidence: Evidence, *, sessions: float = 400, limit: float = 1.0, price: float = 1.0
) -> CdnFacts:
    """Facts of one CDN whose two windows agree."""
    return CdnFacts(
        cdn=name,
        sessions=sessions,
        bad=sessions * evidence.share,
        short=evidence,
        long=evidence,
        limit=limit,
        capacity=2_000,
        price=price,
        floor=0.02,
    )


def cell_facts(evidence: Mapping[str, Evidence], *, demand: float = 800, age_s: float = 1.0) -> CellFacts:
    """Facts of one cell at NOW_MS."""
    cdns = tuple(cdn_facts(name, evidence[name]) for name in sorted(evidence))
    return CellFacts(cell=CELL, newest_ms=NOW_MS - int(age_s * 1_000), demand=demand, cdns=cdns)


def inputs(facts: CellFacts, state: CellState | None, *, now_ms: int = NOW_MS, rules: Rules = RULES) -> Inputs:
    """Inputs of one decision."""
    return Inputs(facts=facts, state=state, now_ms=now_ms, rules=rules)


def even(**changes: float) -> CellState:
    """A cell that splits evenly between A and B, or as told."""
    return CellState.from_weights(changes or {"A": 0.5, "B": 0.5}, version=7, ttl_s=10)


def with_state(state: CellState, cdn: str, **fields: object) -> CellState:
    """The same state with some fields of one CDN replaced."""
    cdns = {**state.cdns, cdn: msgspec.structs.replace(state.cdns[cdn], **fields)}
    return msgspec.structs.replace(state, cdns=cdns)


def simulate(*faults: Fault, seconds: int, rules: Rules = RULES, **changes: object) -> Outcome:
    """Run a world of 1,200 sessions in three cells over two CDNs."""
    fields: dict[str, object] = {"audience": AUDIENCE, "cdns": CDNS, "seconds": seconds, "faults": faults, **changes}
    world = World(**fields)  # type: ignore[arg-type]
    return Simulation(world, rules, random=seeded(world.seed)).run()
