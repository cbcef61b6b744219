"""Clocks that run ahead, and beacons that are too far from now."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.ingest import reasons
from headrace.ingest.skew import KEEP, decide_skew, needs_verdict

NOW, LIMIT, DAY = 1_800_000_000_000, 600_000, 86_400_000


def test_a_clock_ahead_is_set_back_for_the_whole_session() -> None:
    """The newest report lands on the receive time, the others keep their distance to it; other sessions are not moved."""
    rows = [("a", NOW + 4000), ("a", NOW + 5000), ("b", NOW - 10)]
    verdicts = decide_skew(rows, recv_ms=NOW, limit_ms=LIMIT)
    assert [verdict.skew_ms for verdict in verdicts] == [5000, 5000, 0]
    assert verdicts[2] == KEEP


def test_a_day_ahead_or_behind_is_a_dead_letter() -> None:
    """Beyond the limit nothing is repaired; one session's wrong clock refuses only its own reports."""
    verdicts = decide_skew([("a", NOW + DAY), ("a", NOW), ("b", NOW - DAY), ("b", NOW)], recv_ms=NOW, limit_ms=LIMIT)
    assert [verdict.reason for verdict in verdicts] == [reasons.CLOCK_SKEWED, reasons.CLOCK_SKEWED, reasons.TOO_OLD, ""]


def test_the_limit_is_inclusive() -> None:
    """Exactly the limit is still taken, on both sides."""
    verdicts = decide_skew([("a", NOW + LIMIT), ("b", NOW - LIMIT)], recv_ms=NOW, limit_ms=LIMIT)
    assert [verdict.reason for verdict in verdicts] == ["", ""]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(NOW - 2 * LIMIT, NOW + 2 * LIMIT)), max_size=20))
def test_no_kept_time_is_outside_the_limits(rows: list[tuple[str, int]]) -> None:
    """Corrected times lie in [now - limit, now], the order within a session is kept, and the cheap test misses nothing."""
    verdicts = decide_skew(rows, recv_ms=NOW, limit_ms=LIMIT)
    kept = [ts - verdict.skew_ms for (_, ts), verdict in zip(rows, verdicts, strict=True) if not verdict.reason]
    assert all(NOW - LIMIT <= ts <= NOW for ts in kept)
    if not needs_verdict([ts for _, ts in rows], recv_ms=NOW, limit_ms=LIMIT):
        assert all(verdict == KEEP for verdict in verdicts)
