"""Evaluate: from rows of a window to facts per cell.

1. Per cell and CDN, two windows (short, long): sessions and bad sessions, summed over seconds.
   The short one is the newest second alone or the last `short_s`, whichever says more surely that something is wrong.
2. The same session is seen in every second, so k seconds of m sessions are not k·m observations: as many as the CDN has sessions
   (the fullest second of the window's whole span) count in full, the rest with `repeat_credit`. A CDN that stops answering
   makes players fall silent; those that still speak, one here and one there, are then counted as the different ones they are.
3. A small cell borrows: the bad share of the same CDN in the other cells of its region (else anywhere) is a Beta prior worth
   at most `borrow_n` sessions, each lending cell counted with at most LENT_PER_CELL so that one large sick cell does not
   condemn a CDN everywhere. Without lenders a weak prior says "healthy".
4. Posterior mean and Wilson bounds (Wilson 1927) on the sum.

The newest second is still filling: it is used, because a bad second shows early and a share needs no complete count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set

import msgspec

from headrace.flows.cdn.model import CdnFacts, CdnState, CellFacts, CellKey, CellState, Evidence, Rules
from headrace.flows.cdn.window import Path, Second
from headrace.serve.cdns import Cdn

LENT_PER_CELL = 20.0
PRIOR_SHARE = 0.01  # bad sessions of a healthy CDN at any moment; Puffer's stalls are 0.1-0.3 % of time (NSDI'20)
PRIOR_N = 0.5  # two of two sessions in trouble must be enough to act in a lab of four players
EVERYWHERE = "*"
NO_SECONDS: Mapping[int, Second] = {}


class Sample(msgspec.Struct, frozen=True):
    """Own observations: bad share, effective number of sessions, and sessions and bad ones per second."""

    share: float
    n: float
    sessions: float
    bad: float


NOTHING = Sample(0.0, 0.0, 0.0, 0.0)


def wilson(share: float, n: float, *, z: float) -> tuple[float, float]:
    """Lower and upper bound of a share seen in `n` (may be fractional) observations; (0, 1) for none."""
    if n < 1e-6:
        return 0.0, 1.0
    square = z * z
    centre = share + square / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    scale = 1 + square / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def sample(seconds: Mapping[int, Second], *, after_ms: int, credit: float, settling: bool = False) -> Sample:
    """Condense the seconds later than `after_ms`; `settling` leaves out stalls that may have been brought along."""
    rows = [row for at, row in seconds.items() if at > after_ms and row.sessions > 0]
    if not rows:
        return NOTHING
    total = sum(row.sessions for row in rows)
    bad = sum(row.bad_new if settling else row.bad for row in rows)
    audience = max(row.sessions for row in seconds.values())
    distinct = min(audience, total)
    return Sample(bad / total, distinct + credit * (total - distinct), total / len(rows), bad / len(rows))


class Lent(msgspec.Struct, frozen=True):
    """What other cells know of a CDN: sessions' worth of evidence and how many of them were bad."""

    n: float = 0.0
    bad: float = 0.0

    def plus(self, one: Sample, *, sign: int = 1) -> Lent:
        """With (or, `sign=-1`, without) one cell's capped sample."""
        n = min(one.n, LENT_PER_CELL)
        return Lent(self.n + sign * n, self.bad + sign * n * one.share)


def combine(own: Sample, lent: Lent, rules: Rules) -> Evidence:
    """Posterior of the bad share, given own and lent evidence; `n` is 0 if nobody has seen the CDN at all."""
    has_lent = lent.n > 1e-6
    prior_share = min(max(lent.bad / lent.n, 0.0), 1.0) if has_lent else PRIOR_SHARE
    prior_n = min(lent.n, rules.borrow_n) if has_lent else PRIOR_N
    n = own.n + prior_n
    share = (own.n * own.share + prior_n * prior_share) / n if n > 0 else prior_share
    lower, upper = wilson(share, n, z=rules.confidence_z)
    known = n if has_lent or own.n > 0 else 0.0
    return Evidence(round(share, 6), round(lower, 6), round(upper, 6), round(known, 3))


class Evaluation:
    """One evaluation of a window: samples of every cell and CDN, made once, combined per cell."""

    def __init__(
        self, rows: Mapping[Path, Mapping[int, Second]], *, newest_ms: int, settling: Set[Path], rules: Rules
    ) -> None:
        self._rows = rows
        self._newest_ms = newest_ms
        self._rules = rules
        self._newest = self._samples(1, settling)
        self._short = self._samples(rules.short_s, settling)
        self._long = self._samples(rules.long_s, settling)
        self._lent_newest = _lend(self._newest)
        self._lent_short = _lend(self._short)
        self._lent_long = _lend(self._long)
        self._demand = self._sum_demand()

    def _samples(self, span_s: int, settling: Set[Path]) -> dict[Path, Sample]:
        after = self._newest_ms - span_s * 1_000
        credit = self._rules.repeat_credit
        return {
            path: sample(seconds, after_ms=after, credit=credit, settling=path in settling)
            for path, seconds in self._rows.items()
        }

    def _sum_demand(self) -> dict[CellKey, float]:
        """Concurrent sessions per cell: the fullest of the long window's seconds, as a session is not heard every second."""
        totals: dict[CellKey, dict[int, int]] = {}
        for (cell, _), seconds in self._rows.items():
            by_second = totals.setdefault(cell, {})
            for at, row in seconds.items():
                by_second[at] = by_second.get(at, 0) + row.sessions
        return {cell: float(max(by_second.values(), default=0)) for cell, by_second in totals.items()}

    def demand(self, cell: CellKey) -> float:
        """Concurrent sessions of a cell."""
        return self._demand.get(cell, 0.0)

    def facts(self, cell: CellKey, cdns: Sequence[Cdn]) -> CellFacts:
        """The facts of one cell; capacity limits are filled in later (`capacity.limit_facts`)."""
        return CellFacts(
            cell=cell,
            newest_ms=self._newest_ms,
            demand=self.demand(cell),
            cdns=tuple(self._cdn_facts(cell, cdn) for cdn in cdns),
        )

    def _cdn_facts(self, cell: CellKey, cdn: Cdn) -> CdnFacts:
        path = (cell, cdn.name)
        short = self._short.get(path, NOTHING)
        after = self._newest_ms - self._rules.short_s * 1_000
        ages = [row.inflight_age_ms for at, row in self._rows.get(path, NO_SECONDS).items() if at > after]
        return CdnFacts(
            cdn=cdn.name,
            sessions=round(short.sessions, 3),
            bad=round(short.bad, 3),
            short=self._short_evidence(path),
            long=self._evidence(path, self._long, self._lent_long),
            inflight_age_ms=max(ages, default=0),
            capacity=cdn.capacity_sessions,
            price=cdn.price,
            floor=cdn.floor,
        )

    def _short_evidence(self, path: Path) -> Evidence:
        newest = self._evidence(path, self._newest, self._lent_newest)
        short = self._evidence(path, self._short, self._lent_short)
        return newest if newest.n > 0 and newest.lower > short.lower else short

    def _evidence(self, path: Path, samples: Mapping[Path, Sample], lent: Mapping[tuple[str, str], Lent]) -> Evidence:
        cell, cdn = path
        own = samples.get(path, NOTHING)
        near = lent.get((cell.region, cdn), Lent()).plus(own, sign=-1)
        lender = near if near.n >= 1 else lent.get((EVERYWHERE, cdn), Lent()).plus(own, sign=-1)
        return combine(own, lender, self._rules)


def _lend(samples: Mapping[Path, Sample]) -> dict[tuple[str, str], Lent]:
    """Capped sums by (region, CDN) and by CDN alone."""
    sums: dict[tuple[str, str], Lent] = {}
    for (cell, cdn), one in samples.items():
        for key in ((cell.region, cdn), (EVERYWHERE, cdn)):
            sums[key] = sums.get(key, Lent()).plus(one)
    return sums


def settling_paths(states: Mapping[CellKey, CellState], *, now_ms: int) -> set[Path]:
    """Cell and CDN pairs that were given sessions a moment ago."""

    def settles(state: CdnState) -> bool:
        return state.settle_until_ms > now_ms

    return {(cell, cdn) for cell, state in states.items() for cdn, one in state.cdns.items() if settles(one)}
