"""Players' clocks: how far they run ahead, and which beacons are beyond repair.

Only one direction can be told from one batch: a report from the future proves that the clock runs ahead by at least that much,
a report from the past may just have waited. So the newest report of a session in a batch that lies ahead of the receive time by
d moves all of that session's reports in the batch back by d, if d is within the limit; beyond it the session's reports are dead
letters, and so is any single report that lies further back than the limit. Sessions are judged apart, because
one wrong clock in a relay's mixed batch must not move the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace.ingest import reasons


class SkewVerdict(msgspec.Struct, frozen=True):
    """What to do with one row: subtract `skew_ms` from its time, or refuse it for `reason`."""

    skew_ms: int = 0
    reason: str = ""
    detail: str = ""


KEEP = SkewVerdict()


def needs_verdict(times_ms: Sequence[int], *, recv_ms: int, limit_ms: int) -> bool:
    """Whether any row is ahead of the receive time or too far behind: the cheap test that nearly every batch passes."""
    return bool(times_ms) and (max(times_ms) > recv_ms or min(times_ms) < recv_ms - limit_ms)


def decide_skew(rows: Sequence[tuple[str, int]], *, recv_ms: int, limit_ms: int) -> list[SkewVerdict]:
    """One verdict for each (session, event time in ms) of a batch, in order. Pure."""
    newest: dict[str, int] = {}
    for sid, ts_ms in rows:
        newest[sid] = max(ts_ms, newest.get(sid, ts_ms))
    ahead = {sid: max(0, ts_ms - recv_ms) for sid, ts_ms in newest.items()}
    return [_verdict(ts_ms, ahead[sid], recv_ms=recv_ms, limit_ms=limit_ms) for sid, ts_ms in rows]


def _verdict(ts_ms: int, ahead_ms: int, *, recv_ms: int, limit_ms: int) -> SkewVerdict:
    if ahead_ms > limit_ms:
        return SkewVerdict(0, reasons.CLOCK_SKEWED, f"the session's newest beacon is {ahead_ms} ms ahead")
    behind_ms = recv_ms - (ts_ms - ahead_ms)
    if behind_ms > limit_ms:
        return SkewVerdict(0, reasons.TOO_OLD, f"the beacon is {behind_ms} ms old")
    return SkewVerdict(ahead_ms) if ahead_ms else KEEP
