"""The report's rows: what was promised, what was measured, whether it held. Pure.

Each `judge_*` takes facts as values and returns one `Guarantee`; a fact that could not be measured makes its guarantee fail
and says so, it never disappears.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

STALL_TOLERANCE_MS = 100.0
STALL_SHARE_MIN = 0.99
MOVED_SHARE_MIN = 0.80
MOVED_WITHIN_S = 60.0
CALM_MOVEMENT_MAX = 0.05
DECISION_P99_S = 3.0
READABLE_S = 3.0


class Guarantee(msgspec.Struct, frozen=True):
    """One row of the report; `measured` is a number or a short text, `bound` the promise in words."""

    name: str
    measured: float | int | str
    bound: str
    passed: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report; `details` are figures without a bound."""

    guarantees: list[Guarantee]
    details: dict[str, float | int | str] = {}

    @property
    def passed(self) -> bool:
        """Whether every guarantee held."""
        return all(row.passed for row in self.guarantees)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` of the values do not exceed (nearest rank), or None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def unmeasured(name: str, bound: str, why: str) -> Guarantee:
    """A guarantee that could not be measured: failed, with the reason."""
    return Guarantee(name, f"not measured: {why}", bound, False)


def judge_reconciled(stats: Mapping[str, int]) -> Guarantee:
    """Every beacon the gateway received is accepted, dead or shed."""
    missing = stats["received"] - stats["accepted"] - stats["dead"] - stats["shed"]
    return Guarantee(
        "gateway counts reconcile: received = accepted + dead + shed",
        missing,
        "0 beacons unaccounted for",
        missing == 0,
    )


def judge_durable(*, acknowledged: int, in_topic: int) -> Guarantee:
    """Every beacon that was acknowledged is in the topic."""
    return Guarantee(
        "acknowledged beacons in Kafka",
        in_topic - acknowledged,
        "0 lost (a resend may add rows)",
        in_topic >= acknowledged,
    )


def judge_recount(differences: Mapping[str, int], rows: Mapping[str, int]) -> list[Guarantee]:
    """Streaming rows equal the batch recount, table by table; a table without rows proves nothing and fails."""
    made = []
    for table, different in sorted(differences.items()):
        count = rows.get(table, 0)
        name = f"{table}: rows equal the batch recount ({count} rows)"
        made.append(Guarantee(name, different, "0 lost, 0 double, 0 different", different == 0 and count > 0))
    return made


def judge_moved(shares: Sequence[tuple[float, float]], *, cut_at_s: float) -> Guarantee:
    """How long until 80 % of the degraded CDN's share had moved; `shares` are (time s, share of that CDN)."""
    name, bound = "degraded CDN: time until 80 % of its share has moved, s", f"<= {MOVED_WITHIN_S:g} s"
    before = [share for at, share in shares if at <= cut_at_s]
    if not before or before[-1] <= 0:
        return unmeasured(name, bound, "the CDN had no share before the fault")
    limit = before[-1] * (1 - MOVED_SHARE_MIN)
    done = next((at - cut_at_s for at, share in shares if at > cut_at_s and share <= limit), None)
    if done is None:
        return Guarantee(name, "never", bound, False)
    return Guarantee(name, round(done, 1), bound, done <= MOVED_WITHIN_S)


def judge_calm(weights: Sequence[Mapping[str, float]]) -> Guarantee:
    """Largest movement of any CDN's weight while nothing changed; one weight vector a decision and cell, in order."""
    name, bound = "calm: largest weight movement before the fault", f"< {CALM_MOVEMENT_MAX:.0%}"
    if len(weights) < 2:
        return unmeasured(name, bound, "fewer than two decisions")
    cdns = {cdn for row in weights for cdn in row}
    moved = max(max(row.get(cdn, 0.0) for row in weights) - min(row.get(cdn, 0.0) for row in weights) for cdn in cdns)
    return Guarantee(name, round(moved, 4), bound, moved < CALM_MOVEMENT_MAX)


def judge_decision_latency(latencies_s: Sequence[float]) -> Guarantee:
    """Event time to decision in Redis, p99."""
    name, bound = "event to decision in Redis, p99 s (crowd full, before the kill)", f"<= {DECISION_P99_S:g} s"
    found = percentile(latencies_s, 0.99)
    return (
        unmeasured(name, bound, "no decisions")
        if found is None
        else Guarantee(name, round(found, 2), bound, found <= DECISION_P99_S)
    )


def judge_readable(delays_s: Sequence[float]) -> Guarantee:
    """Worst delay from a minute's end plus the watermark delay until `qoe_1m` holds all of its beacons."""
    name, bound = (
        "qoe_1m readable after minute end plus watermark delay, s (minutes ending 30 s after the start, before the kill)",
        f"<= {READABLE_S:g} s",
    )
    if not delays_s:
        return unmeasured(name, bound, "no minute ended during the run")
    worst = max(delays_s)
    return Guarantee(name, round(worst, 2), bound, worst <= READABLE_S)


def judge_stopwatch(differences_ms: Sequence[float], *, what: str) -> Guarantee:
    """Share of sessions whose figure is within 100 ms of the page's stopwatch."""
    name, bound = (
        f"{what} within {STALL_TOLERANCE_MS:g} ms of the page's stopwatch ({len(differences_ms)} sessions)",
        f">= {STALL_SHARE_MIN:.0%}",
    )
    if not differences_ms:
        return unmeasured(name, bound, "no session ran from start to end")
    share = sum(abs(value) <= STALL_TOLERANCE_MS for value in differences_ms) / len(differences_ms)
    return Guarantee(name, round(share, 4), bound, share >= STALL_SHARE_MIN)


def judge_identity(outcomes: Mapping[str, int], *, attempts: int) -> Guarantee:
    """Attempts = plays + start failures + exits before start + pending."""
    total = sum(outcomes.get(key, 0) for key in ("play", "vsf", "ebvs", "pending"))
    return Guarantee(
        f"attempts = plays + failures + exits + pending ({attempts} attempts)",
        attempts - total,
        "0",
        attempts == total and attempts > 0,
    )


def judge_recovery(*, killed: str, restored: bool, seconds: float | None) -> Guarantee:
    """All jobs run again after a TaskManager was killed."""
    measured = "never" if seconds is None else round(seconds, 1)
    return Guarantee(f"killed {killed}: all jobs running again, s", measured, "running again, state restored", restored)
