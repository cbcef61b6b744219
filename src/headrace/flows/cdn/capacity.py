"""Divide what a CDN can carry among cells and CDNs: pure arithmetic, no health.

`fill` turns ceilings, limits, floors, prices and capacities into a cell's weights: cheapest tier first, within a tier in proportion
to capacity. `limits` says how much of a CDN each cell may take, so that the sum over cells stays below `headroom` of its
capacity even if all cells act on it at the same time: what cells ask for beyond their present load is granted in
proportion, what nobody asks for is spread by demand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from headrace.flows.cdn.model import CdnFacts, CellFacts, CellKey

EPSILON = 1e-9


class Slot(msgspec.Struct, frozen=True):
    """One CDN as `fill` sees it: least share, share that health allows, share that fits, and how to rank and divide."""

    cdn: str
    floor: float
    ceiling: float
    limit: float
    capacity: float
    price: float


def fill(slots: Sequence[Slot]) -> tuple[dict[str, float], str]:
    """Weights that sum to 1, and what had to give: "" nothing, "health" ceilings, "capacity" limits too.

    Ceilings are given up before limits: a CDN over its capacity fails everybody on it, a sick one at first only its own.
    """
    floors = sum(slot.floor for slot in slots)
    shrink = min(1.0, 0.5 / floors) if floors > 0 else 1.0  # many CDNs: floors take at most half
    weights = {slot.cdn: min(slot.floor * shrink, slot.limit) for slot in slots}
    gave = ""
    for name, caps in (
        ("", {slot.cdn: min(slot.ceiling, slot.limit) for slot in slots}),
        ("health", {slot.cdn: slot.limit for slot in slots}),
        ("capacity", {slot.cdn: 1.0 for slot in slots}),
    ):
        if 1 - sum(weights.values()) <= 1e-6:
            break
        gave = name
        for price in sorted({slot.price for slot in slots}):
            _pour([slot for slot in slots if slot.price == price], weights, caps)
    return normalise(weights), gave


def _pour(tier: Sequence[Slot], weights: dict[str, float], caps: Mapping[str, float]) -> None:
    """Raise the weights of one tier together, levelled by capacity, until the sum is 1 or all are at their caps.

    Finds the level L with sum max(weight, min(cap, L * capacity)) = what is to be given: the sum grows with L and is linear
    between the levels at which a CDN begins or ends to take part.
    """

    def at(level: float) -> dict[str, float]:
        return {slot.cdn: max(weights[slot.cdn], min(caps[slot.cdn], level * slot.capacity)) for slot in tier}

    to_give = 1 - sum(weights.values()) + sum(weights[slot.cdn] for slot in tier)
    bends = {weights[slot.cdn] / slot.capacity for slot in tier} | {caps[slot.cdn] / slot.capacity for slot in tier}
    below, held = 0.0, sum(at(0.0).values())
    for level in sorted(bends):
        would = sum(at(level).values())
        if would >= to_give:
            share = (to_give - held) / (would - held) if would > held else 0.0
            weights.update(at(below + share * (level - below)))
            return
        below, held = level, would
    weights.update(at(below))


def normalise(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights rounded to 4 digits that sum to exactly 1 in that precision; the largest takes the rounding."""
    total = sum(weights.values())
    if total <= 0:
        return {name: 1 / len(weights) for name in weights}
    rounded = {name: round(max(value, 0.0) / total, 4) for name, value in weights.items()}
    largest = max(sorted(rounded), key=lambda name: rounded[name])
    rest = 1 - sum(value for name, value in rounded.items() if name != largest)
    return {**rounded, largest: round(rest, 4)}


class Ask(msgspec.Struct, frozen=True):
    """One cell's present weights and those it would choose if capacity were no matter."""

    demand: float
    present: dict[str, float]
    wanted: dict[str, float]


def limits(
    asks: Mapping[CellKey, Ask], capacity: Mapping[str, float], *, headroom: float
) -> dict[CellKey, dict[str, float]]:
    """Largest weight of each CDN in each cell."""
    demand = sum(ask.demand for ask in asks.values())
    out: dict[CellKey, dict[str, float]] = {cell: {} for cell in asks}
    for cdn, sessions_max in capacity.items():
        load = sum(ask.demand * ask.present.get(cdn, 0.0) for ask in asks.values())
        room = headroom * sessions_max - load
        extra = {cell: _asked(ask, cdn) for cell, ask in asks.items()}
        asked = sum(extra.values())
        granted = min(1.0, room / asked) if asked > EPSILON and room > 0 else 0.0
        spread = max(room - granted * asked, 0.0) / demand if demand > 0 else 1.0
        shrink = headroom * sessions_max / load if room < 0 else 1.0
        for cell, ask in asks.items():
            share = granted * extra[cell] / ask.demand + spread if ask.demand > 0 else 1.0
            out[cell][cdn] = round(min(1.0, max(0.0, ask.present.get(cdn, 0.0) * shrink + share)), 6)
    return out


def _asked(ask: Ask, cdn: str) -> float:
    return ask.demand * max(0.0, ask.wanted.get(cdn, 0.0) - ask.present.get(cdn, 0.0))


def with_limits(facts: CellFacts, limit: Mapping[str, float]) -> CellFacts:
    """The same facts with capacity limits filled in."""

    def limited(one: CdnFacts) -> CdnFacts:
        return msgspec.structs.replace(one, limit=limit.get(one.cdn, 1.0))

    return msgspec.structs.replace(facts, cdns=tuple(map(limited, facts.cdns)))
