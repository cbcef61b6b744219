"""Decide one cell's weights: a pure function of facts, remembered state, time and rules.

1. No fresh input → `hold`: the last weights stay, whatever was believed before. Missing data never moves anybody.
2. Unknown cell → `init`: weights by price, capacity and floors.
3. `health.assess` judges each CDN and moves its ceiling.
4. `capacity.fill` turns ceilings and limits into target weights.
5. Move: at once if a CDN has failed (`evacuate`), is being shed (`shed`) or would exceed its capacity (`shed`), or the set of CDNs has
   changed; else at most `step` towards the target and only once per period (TTL at the players + measuring delay, so that
   the effect of the last move is seen before the next: `step`); else `keep`.

Invariants: weights sum to 1; no weight below its floor unless capacity forbids or the floor buys less than one session; same `Inputs` →
same `Decision`, which `replay` checks on logged rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from headrace.flows.cdn.capacity import Slot, fill, normalise
from headrace.flows.cdn.health import HARD, Health, assess, floor_of
from headrace.flows.cdn.model import (
    Alternative,
    CdnFacts,
    CdnState,
    CellFacts,
    CellState,
    Decision,
    Inputs,
    Rules,
    decode_inputs,
)

KEEP, HOLD, STEP, EVACUATE, SHED, INIT = "keep", "hold", "step", "evacuate", "shed", "init"
CAPACITY_SLACK = 0.05  # of the limit; trims are made above it, so that the noise of demand does not trim all the time
TTL_JITTER = 1.2  # the longest a player keeps its answer, as a multiple of the TTL (assign.jitter_ttl)
URGENT_MIN = 0.005  # even a failed CDN is not worth a change of this size: its demand estimate is no finer
EPSILON = 1e-6


def decide(inputs: Inputs) -> Decision:
    """Choose the weights of one cell.

    Args:
        inputs: facts with capacity limits filled in; `state` from the last decision of this cell, None for a new one.

    Returns:
        the decision, without `inputs_hash`, which the caller adds together with the encoded inputs.
    """
    facts, state, rules = inputs.facts, inputs.state, inputs.rules
    if state is None:
        return _init(inputs)
    known = _reconcile(facts, state)
    fresh = facts.newest_ms > 0 and inputs.now_ms - facts.newest_ms <= rules.stale_s * 1_000
    if not fresh:
        return _hold(inputs, known)
    health = assess(facts, known, inputs.now_ms, rules)
    health = _lift_ceilings(facts, health, rules)
    target, gave = _target(facts, health, rules)
    return _move(inputs, known, health=health, target=target, gave=gave)


def replay(rows: Iterable[bytes | str]) -> list[Decision]:
    """Decide again from logged inputs; equal to what was logged, or the code has changed."""
    return [decide(decode_inputs(row)) for row in rows]


def _init(inputs: Inputs) -> Decision:
    facts, rules = inputs.facts, inputs.rules
    blank = {one.cdn: Health(verdict="unknown", state=CdnState(weight=0.0)) for one in facts.cdns}
    weights, _ = _target(facts, blank, rules)
    state = CellState(
        cdns={name: CdnState(weight=weight) for name, weight in weights.items()}, version=1, ttl_s=rules.ttl_calm_s
    )
    reason = "new cell: weights by price, capacity and floors"
    return _decision(inputs, state, action=INIT, reason=reason, before={}, health={})


def _hold(inputs: Inputs, state: CellState) -> Decision:
    newest = inputs.facts.newest_ms
    age = f"newest input is {(inputs.now_ms - newest) / 1_000:.1f} s old" if newest else "no input yet"
    reason = f"{age} (limit {inputs.rules.stale_s:g} s): last weights kept"
    return _decision(inputs, state, action=HOLD, reason=reason, before=state.weights, health={})


def _reconcile(facts: CellFacts, state: CellState) -> CellState:
    """Fit the state to the CDNs of the table: a new one starts at 0, the share of a removed one goes to the others."""
    names = [one.cdn for one in facts.cdns]
    if names == sorted(state.cdns):
        return state
    kept = {name: state.cdns.get(name, CdnState(weight=0.0)) for name in names}
    total = sum(one.weight for one in kept.values())
    spread = normalise({name: one.weight for name, one in kept.items()}) if total > 0 else None
    capacity = sum(one.capacity for one in facts.cdns)
    fallback = {one.cdn: one.capacity / capacity for one in facts.cdns}
    weights = spread or normalise(fallback)
    cdns = {name: msgspec.structs.replace(one, weight=weights[name]) for name, one in kept.items()}
    return msgspec.structs.replace(state, cdns=cdns, version=state.version + 1)


def _target(facts: CellFacts, health: Mapping[str, Health], rules: Rules) -> tuple[dict[str, float], str]:
    return fill([_slot(one, facts, health[one.cdn].state, rules) for one in facts.cdns])


def _slot(one: CdnFacts, facts: CellFacts, state: CdnState, rules: Rules) -> Slot:
    floor = min(floor_of(one, state, facts.demand, rules), max(state.ceiling, 0.0))
    return Slot(one.cdn, floor, max(state.ceiling, floor), one.limit, one.capacity, one.price)


def _lift_ceilings(facts: CellFacts, health: Mapping[str, Health], rules: Rules) -> dict[str, Health]:
    """Clear ceilings that no longer bind: just raised, and at or above what the CDN would get in full health."""
    if not any(one.act == "raise" for one in health.values()):
        return dict(health)
    well = {
        name: msgspec.structs.replace(one, state=msgspec.structs.replace(one.state, ceiling=1.0))
        if one.act == "raise"
        else one
        for name, one in health.items()
    }
    base, _ = _target(facts, well, rules)
    return {
        name: well[name] if one.act == "raise" and one.state.ceiling >= base[name] - EPSILON else one
        for name, one in health.items()
    }


def _move(
    inputs: Inputs, state: CellState, *, health: Mapping[str, Health], target: Mapping[str, float], gave: str
) -> Decision:
    facts, rules, now_ms = inputs.facts, inputs.rules, inputs.now_ms
    before = state.weights
    distance = sum(abs(target[name] - before[name]) for name in before) / 2
    acts = {one.act for one in health.values()}
    over = [one.cdn for one in facts.cdns if before[one.cdn] > one.limit * (1 + CAPACITY_SLACK) + EPSILON]
    urgent = bool(acts & {"evacuate", "shed"} or over)
    ripples = distance < (URGENT_MIN if urgent else rules.dead_band) - EPSILON and "raise" not in acts
    if distance <= EPSILON or ripples:
        action, weights = KEEP, before
    elif urgent:
        action, weights = (EVACUATE if "evacuate" in acts else SHED), dict(target)
    elif now_ms < state.next_step_ms:
        action, weights = KEEP, before
    else:
        action, weights = STEP, _step(before, target, share=min(1.0, rules.step / distance))
    changed = weights != before
    following = _next_state(inputs, state, health=health, weights=weights, urgent=changed)
    reason = _reason(
        facts, health, action=action if changed else KEEP, over=over, gave=gave, weights=weights, before=before
    )
    return _decision(inputs, following, action=action if changed else KEEP, reason=reason, before=before, health=health)


def _step(before: Mapping[str, float], target: Mapping[str, float], *, share: float) -> dict[str, float]:
    return normalise({name: before[name] + share * (target[name] - before[name]) for name in before})


def _next_state(
    inputs: Inputs, state: CellState, *, health: Mapping[str, Health], weights: Mapping[str, float], urgent: bool
) -> CellState:
    rules, now_ms = inputs.rules, inputs.now_ms
    incident_ms = now_ms + int(rules.incident_s * 1_000) if urgent else state.incident_until_ms
    ttl_s = rules.ttl_incident_s if now_ms < incident_ms else rules.ttl_calm_s
    period_ms = int((max(state.ttl_s, ttl_s) * TTL_JITTER + rules.measure_delay_s) * 1_000)
    settle_ms = now_ms + period_ms
    cdns = {}
    for name, one in health.items():
        gained = weights[name] > state.cdns[name].weight + EPSILON
        settle = settle_ms if gained else one.state.settle_until_ms
        cdns[name] = msgspec.structs.replace(one.state, weight=weights[name], settle_until_ms=settle)
    return CellState(
        cdns=cdns,
        version=state.version + (1 if urgent else 0),
        ttl_s=ttl_s,
        next_step_ms=now_ms + period_ms if urgent else state.next_step_ms,
        incident_until_ms=incident_ms,
    )


def _reason(
    facts: CellFacts,
    health: Mapping[str, Health],
    *,
    action: str,
    over: list[str],
    gave: str,
    weights: Mapping[str, float],
    before: Mapping[str, float],
) -> str:
    parts = [f"{name} {_word(one)}: {one.note}" for name, one in health.items() if one.note]
    parts += [f"{name} over its capacity limit" for name in over]
    if gave and action != KEEP:
        parts.append("no room elsewhere" if gave == "health" else "all CDNs at capacity")
    moved = [f"{name} {before[name]:.1%} to {weights[name]:.1%}" for name in weights if weights[name] != before[name]]
    if not parts:
        parts = ["towards price and capacity" if moved else "no CDN is significantly worse"]
    return "; ".join(parts) + (f"; {', '.join(moved)}" if moved else "")


def _word(one: Health) -> str:
    if one.verdict == HARD:
        return "failed"
    return "degraded" if one.verdict == "soft" else one.verdict


def _decision(
    inputs: Inputs,
    state: CellState,
    *,
    action: str,
    reason: str,
    before: dict[str, float],
    health: Mapping[str, Health],
) -> Decision:
    weights = state.weights
    moved = sum(abs(weights[name] - before.get(name, 0.0)) for name in weights) / 2 if before else 0.0
    return Decision(
        cell=inputs.facts.cell,
        at_ms=inputs.now_ms,
        action=action,
        reason=reason,
        weights=weights,
        before=before,
        moved=round(moved, 4),
        ttl_s=state.ttl_s,
        alternatives=tuple(_alternative(one, health.get(one.cdn)) for one in inputs.facts.cdns),
        state=state,
        last_input_ms=inputs.facts.newest_ms,
    )


def _alternative(one: CdnFacts, health: Health | None) -> Alternative:
    if health is None:
        return Alternative(one.cdn, "not judged", one.limit, "")
    verdict = f"{health.verdict}, suspect" if health.state.suspect else health.verdict
    return Alternative(one.cdn, verdict, round(min(health.state.ceiling, one.limit), 4), health.note)
