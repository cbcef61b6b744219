"""The loop without its edges: window in, decisions out, time as an argument.

`decide_all` is one round over all cells. It decides twice: first as if capacity were no matter, then with the limits that
follow from what all cells asked for, so that cells that flee from the same CDN do not together flood the next one. Each
final decision depends on its own `Inputs` alone, which carry the limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from headrace.flows.cdn.capacity import Ask, limits, with_limits
from headrace.flows.cdn.decide import decide
from headrace.flows.cdn.evidence import Evaluation, settling_paths
from headrace.flows.cdn.model import (
    CellFacts,
    CellKey,
    CellState,
    Decision,
    Inputs,
    Rules,
    encode_inputs,
    hash_inputs,
)
from headrace.flows.cdn.window import Window
from headrace.serve.cdns import Cdn

SPAN_SLACK_S = 5  # seconds kept beyond the long window, for rows that arrive out of order


class Decided(msgspec.Struct, frozen=True):
    """A decision together with the encoded inputs that it follows from."""

    decision: Decision
    inputs: bytes


def decide_all(
    facts: Mapping[CellKey, CellFacts], states: Mapping[CellKey, CellState], *, now_ms: int, rules: Rules
) -> list[Decided]:
    """One round over all cells, in order of their keys."""
    cells = sorted(facts)

    def inputs(cell: CellKey, seen: CellFacts) -> Inputs:
        return Inputs(facts=seen, state=states.get(cell), now_ms=now_ms, rules=rules)

    drafts = {cell: decide(inputs(cell, facts[cell])) for cell in cells}
    asks = {
        cell: Ask(facts[cell].demand, drafts[cell].before or drafts[cell].weights, drafts[cell].weights)
        for cell in cells
    }
    capacity = {one.cdn: one.capacity for seen in facts.values() for one in seen.cdns}
    allowed = limits(asks, capacity, headroom=rules.headroom)
    return [_final(inputs(cell, with_limits(facts[cell], allowed[cell]))) for cell in cells]


def _final(inputs: Inputs) -> Decided:
    encoded = encode_inputs(inputs)
    decision = msgspec.structs.replace(decide(inputs), inputs_hash=hash_inputs(encoded))
    return Decided(decision, encoded)


class Scheduler:
    """Window, states and rules of one running scheduler; no input or output."""

    def __init__(self, rules: Rules, *, cells: Iterable[CellKey] = ()) -> None:
        self.rules = rules
        self.window = Window(span_s=rules.long_s + SPAN_SLACK_S)
        self.states: dict[CellKey, CellState] = {}
        self.known: set[CellKey] = set(cells)

    def round(self, cdns: Sequence[Cdn], *, now_ms: int) -> list[Decided]:
        """Evaluate the window, decide every known cell and remember the outcome."""
        self.known |= self.window.cells()
        evaluation = Evaluation(
            self.window.snapshot(),
            newest_ms=self.window.newest_ms,
            settling=settling_paths(self.states, now_ms=now_ms),
            rules=self.rules,
        )
        facts = {cell: evaluation.facts(cell, cdns) for cell in self.known}
        decided = decide_all(facts, self.states, now_ms=now_ms, rules=self.rules)
        for one in decided:
            self.states[one.decision.cell] = one.decision.state
        return decided
