"""Judge each CDN of a cell and remember what its health allows: the first half of a decision, pure.

Verdicts, from the evidence alone:
- `hard`: the lower bound of the bad share is over `hard_share` in the short window, or in the long one while the short mean agrees;
- `soft`: in the long window surely worse than the best known CDN by `soft_margin`, and at least twice as bad, and still so now;
- `unknown`: nobody has seen it; `good`: the rest.

The ceiling is the largest weight that health allows (multiplicative decrease, additive increase, as in TCP congestion control):
- hard, and somebody else is better → ceiling falls to the floor at once, hold starts (doubles with every repeat);
- soft for `soft_after_s`, and somebody else is better → ceiling shrinks by `decrease` once per period;
- good after the hold → ceiling grows per period: by `step` up to 70 % of the weight at which it failed, above by `slow_step` (after a repeated fault only after a long plateau), until
  it no longer binds. A CDN that nobody sees (small cell, no exploration session) is tried likewise, but later.

Nobody better → nothing moves: when all CDNs are bad, the fault is not a CDN's (the ISP or the origin).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headrace.flows.cdn.model import CdnFacts, CdnState, CellFacts, CellState, Rules

HARD, SOFT, UNKNOWN, GOOD = "hard", "soft", "unknown", "good"
BETTER_RATIO = 0.5  # relief must be at most half as bad, else moving helps too few to be worth a switch
REGAIN = 0.7  # of the weight at which it failed; TCP halves, we know the cause was there at full weight only
BLIND_PATIENCE = 4  # holds to wait before sessions are sent, without any sign of health, to a CDN that had failed
RAISE_MIN = 0.001
REPEATS_MAX = 16  # doublings of the hold; `hold_max_s` is reached long before


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """A CDN judged: verdict, the state that follows, what to do at once ("", evacuate, shed, raise) and why."""

    verdict: str
    state: CdnState
    act: str = ""
    note: str = ""


def judge(facts: CellFacts, rules: Rules) -> dict[str, str]:
    """The verdict on every CDN of a cell, from evidence alone."""
    return {one.cdn: _judge_one(one, facts, rules) for one in facts.cdns}


def _judge_one(one: CdnFacts, facts: CellFacts, rules: Rules) -> str:
    if one.short.n <= 0 and one.long.n <= 0:
        return UNKNOWN
    limit = rules.hard_share
    if one.short.lower > limit or (one.long.lower > limit and one.short.share > limit):
        return HARD
    others = [other for other in facts.cdns if other.cdn != one.cdn and other.long.n > 0]
    if others and _is_worse(one, min(others, key=lambda other: other.long.share), rules):
        return SOFT
    return GOOD


def _is_worse(one: CdnFacts, best: CdnFacts, rules: Rules) -> bool:
    """Surely so over the long window, and still so in the short one, which has forgotten what the last move has cured."""
    surely = one.long.lower > best.long.share + rules.soft_margin and one.long.share > best.long.share / BETTER_RATIO
    still = one.short.n <= 0 or one.short.share > best.short.share + rules.soft_margin / 2
    return surely and still


def floor_of(one: CdnFacts, state: CdnState, demand: float, rules: Rules) -> float:
    """The least share of a CDN: its contract's floor or exploration, whichever is more.

    For a CDN that is out of favour, a floor that buys less than one session is dropped: it would give no evidence, only
    now and then a player to suffer.
    """
    floor = max(one.floor, rules.exploration)
    return 0.0 if state.suspect and demand * floor < 1 else floor


def assess(facts: CellFacts, state: CellState, now_ms: int, rules: Rules) -> dict[str, Health]:
    """Judge every CDN of the cell and derive its next state; `state` must know exactly the CDNs of `facts`."""
    verdicts = judge(facts, rules)
    return {
        one.cdn: _Assessor(one, facts=facts, cell=state, verdicts=verdicts, rules=rules).assess(now_ms)
        for one in facts.cdns
    }


class _Assessor:
    """The assessment of one CDN; holds what its steps share."""

    def __init__(
        self, one: CdnFacts, *, facts: CellFacts, cell: CellState, verdicts: Mapping[str, str], rules: Rules
    ) -> None:
        self.one, self.facts, self.cell, self.verdicts, self.rules = one, facts, cell, verdicts, rules
        self.verdict = verdicts[one.cdn]
        self.state = cell.cdns[one.cdn]
        suspect = msgspec.structs.replace(self.state, ceiling=0.0)
        self.floor = min(floor_of(one, suspect, facts.demand, rules), max(self.state.weight, 0.0))

    def assess(self, now_ms: int) -> Health:
        """The next state, and what to do at once."""
        if self.verdict == HARD:
            return self._on_hard(now_ms)
        if self.verdict == SOFT:
            return self._on_soft(now_ms)
        state = msgspec.structs.replace(self.state, soft_since_ms=0)
        if state.suspect:
            return self._on_recovering(state, now_ms)
        if state.fails and now_ms - state.failed_at_ms > self.rules.forget_s * 1_000:
            state = msgspec.structs.replace(state, fails=0, threshold=1.0)
        return Health(verdict=self.verdict, state=state)

    def _on_hard(self, now_ms: int) -> Health:
        if not self._has_relief():
            held = self._extend_hold(now_ms) if self.state.suspect else self.state
            return Health(verdict=HARD, state=held, note="no CDN is surely better")
        if self.state.suspect and self.state.weight <= self.floor + 1e-9:
            return Health(verdict=HARD, state=self._extend_hold(now_ms), note="still failing")
        return Health(
            verdict=HARD, state=self._fail(now_ms, ceiling=self.floor), act="evacuate", note=self._evidence("short")
        )

    def _on_soft(self, now_ms: int) -> Health:
        since = self.state.soft_since_ms or now_ms
        state = msgspec.structs.replace(self.state, soft_since_ms=since)
        ripe = now_ms - since >= self.rules.soft_after_s * 1_000 and now_ms >= self.cell.next_step_ms
        at_floor = state.weight <= self.floor + 1e-9
        if not ripe or at_floor or not self._has_relief():
            return Health(verdict=SOFT, state=state, note="worse than the best, watched")
        ceiling = max(self.floor, state.weight * self.rules.decrease)
        failed = msgspec.structs.replace(self._fail(now_ms, ceiling=ceiling), soft_since_ms=since)
        return Health(verdict=SOFT, state=failed, act="shed", note=self._evidence("long"))

    def _on_recovering(self, state: CdnState, now_ms: int) -> Health:
        rules = self.rules
        patience_ms = 0 if self.verdict == GOOD else int(BLIND_PATIENCE * rules.hold_s * 1_000)
        rescue = self.verdict == GOOD and self._others_failed()
        if now_ms < state.hold_until_ms + patience_ms and not rescue:
            return Health(verdict=self.verdict, state=state, note="on hold after a fault")
        if now_ms < self.cell.next_step_ms or state.weight < state.ceiling - rules.dead_band - 1e-9:
            return Health(verdict=self.verdict, state=state, note="being given back")
        step = self._raise_by(state, now_ms)
        if step <= 0:
            return Health(verdict=self.verdict, state=state, note="kept below the share at which it failed twice")
        raised = msgspec.structs.replace(state, ceiling=round(min(1.0, state.ceiling + step), 6))
        return Health(
            verdict=self.verdict,
            state=raised,
            act="raise",
            note="good again" if self.verdict == GOOD else "tried again",
        )

    def _raise_by(self, state: CdnState, now_ms: int) -> float:
        """Full steps up to the threshold; above it small ones, and after a repeat none before `hold_max_s` per repeat."""
        to_threshold = state.threshold - state.ceiling
        if to_threshold > RAISE_MIN:
            return min(self.rules.step, to_threshold)
        plateau_ms = (state.fails - 1) * self.rules.hold_max_s * 1_000
        return self.rules.slow_step if now_ms >= state.failed_at_ms + plateau_ms else 0.0

    def _has_relief(self) -> bool:
        """Another CDN is in favour, has room, and is unknown or at most half as bad."""
        return any(self._relieves(other) for other in self.facts.cdns if other.cdn != self.one.cdn)

    def _relieves(self, other: CdnFacts) -> bool:
        if self.verdicts[other.cdn] == HARD or self.cell.cdns[other.cdn].suspect:
            return False
        if other.limit <= self.cell.cdns[other.cdn].weight + 1e-6:
            return False
        mine = self.one.short if self.verdict == HARD else self.one.long
        theirs = other.short if self.verdict == HARD else other.long
        return theirs.n <= 0 or theirs.share <= mine.share * BETTER_RATIO

    def _others_failed(self) -> bool:
        return all(self.verdicts[name] == HARD for name in self.cell.cdns if name != self.one.cdn)

    def _fail(self, now_ms: int, *, ceiling: float) -> CdnState:
        """A new fault: ceiling down, hold doubled; the same fault going on does not double it again."""
        state = self.state
        again = state.suspect and now_ms < state.hold_until_ms
        fails = state.fails if again else min(state.fails + 1, REPEATS_MAX)
        threshold = min(state.threshold, state.weight * REGAIN) if again else state.weight * REGAIN
        failed = msgspec.structs.replace(
            state, ceiling=round(ceiling, 6), threshold=round(threshold, 6), fails=max(fails, 1), failed_at_ms=now_ms
        )
        return msgspec.structs.replace(failed, hold_until_ms=now_ms + self._hold_ms(failed.fails))

    def _extend_hold(self, now_ms: int) -> CdnState:
        until = max(self.state.hold_until_ms, now_ms + self._hold_ms(max(self.state.fails, 1)))
        return msgspec.structs.replace(self.state, hold_until_ms=until)

    def _hold_ms(self, fails: int) -> int:
        return int(min(self.rules.hold_s * 2 ** (fails - 1), self.rules.hold_max_s) * 1_000)

    def _evidence(self, window: str) -> str:
        found = self.one.short if window == "short" else self.one.long
        text = f"{found.share:.0%} of sessions in trouble (at least {found.lower:.0%}, n={found.n:.0f})"
        return f"{text}, oldest fetch {self.one.inflight_age_ms} ms" if self.one.inflight_age_ms else text
