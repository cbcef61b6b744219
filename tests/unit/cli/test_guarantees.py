"""The report's judgements: each holds at its bound, fails beyond it, and fails when nothing was measured."""

from __future__ import annotations

import pytest

from headrace.cli.demo import guarantees as g


def test_moved_counts_from_the_cut_to_the_first_share_below_a_fifth() -> None:
    """80 % of the share before the cut, not of the whole, has to move within 60 s."""
    shares = [(0.0, 0.5), (10.0, 0.5), (20.0, 0.3), (25.0, 0.09), (30.0, 0.02)]
    assert g.judge_moved(shares, cut_at_s=10.0).measured == 15.0
    assert g.judge_moved(shares, cut_at_s=10.0).passed
    assert not g.judge_moved([(0.0, 0.5), (100.0, 0.05)], cut_at_s=0.0).passed
    assert not g.judge_moved([(0.0, 0.5), (100.0, 0.4)], cut_at_s=0.0).passed
    assert not g.judge_moved([(1.0, 0.0)], cut_at_s=5.0).passed


def test_nothing_measured_never_passes() -> None:
    """An empty fact fails its guarantee and says so."""
    rows = [
        g.judge_calm([]),
        g.judge_decision_latency([]),
        g.judge_readable([]),
        g.judge_stopwatch([], what="join time"),
        g.judge_identity({}, attempts=0),
        *g.judge_recount({"qoe_1m": 0}, {}),
    ]
    assert not any(row.passed for row in rows)


@pytest.mark.parametrize(("latencies", "passed"), [([1.0] * 99 + [9.0], True), ([1.0] * 98 + [9.0] * 2, False)])
def test_decision_latency_is_the_99th_percentile(latencies: list[float], passed: bool) -> None:
    """One outlier in a hundred is allowed, two are not."""
    assert g.judge_decision_latency(latencies).passed is passed


def test_calm_is_the_widest_swing_of_any_cdn() -> None:
    """0.50 to 0.54 and back is a movement of 0.04."""
    rows = [{"A": 0.5, "B": 0.5}, {"A": 0.54, "B": 0.46}, {"A": 0.5, "B": 0.5}]
    assert g.judge_calm(rows).measured == 0.04
    assert g.judge_calm(rows).passed
    assert not g.judge_calm([{"A": 0.5}, {"A": 0.56}]).passed


def test_counts_must_match_exactly() -> None:
    """One missing beacon, one different row or one unexplained attempt fails."""
    assert g.judge_reconciled({"received": 10, "accepted": 8, "dead": 1, "shed": 1}).passed
    assert not g.judge_reconciled({"received": 10, "accepted": 8, "dead": 1, "shed": 0}).passed
    assert not g.judge_durable(acknowledged=10, in_topic=9).passed
    assert not g.judge_recount({"qoe_1m": 1}, {"qoe_1m": 40})[0].passed
    assert g.judge_identity({"play": 3, "vsf": 1, "pending": 1}, attempts=5).passed
    assert not g.judge_identity({"play": 3}, attempts=4).passed


def test_stopwatch_asks_for_99_percent_within_100_ms() -> None:
    """One session in a hundred may differ by more."""
    assert g.judge_stopwatch([0.0] * 99 + [500.0], what="stall").passed
    assert not g.judge_stopwatch([0.0] * 98 + [500.0] * 2, what="stall").passed
