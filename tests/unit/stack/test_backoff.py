"""Restart delays grow with crashes in a row and start over after a calm run."""

from __future__ import annotations

from headrace.stack.backoff import LOOP_CRASHES, Crash, decide_restart


def delays(runs_ms: list[int]) -> list[int]:
    """Delays decided for a series of runs that each ended in a crash."""
    history: list[Crash] = []
    for ran_ms in runs_ms:
        decision = decide_restart(history, ran_ms=ran_ms, initial_ms=100, max_ms=1000)
        history.append(Crash(0, 1, ran_ms, decision.delay_ms))
    return [crash.backoff_ms for crash in history]


def test_delays_double_up_to_the_limit() -> None:
    """A process that cannot start is tried ever more rarely."""
    assert delays([10] * 6) == [100, 200, 400, 800, 1000, 1000]


def test_a_calm_run_starts_over() -> None:
    """One crash after hours of health is restarted at once, however bad the morning was."""
    assert delays([10, 10, 10, 3_600_000, 10]) == [100, 200, 400, 100, 200]


def test_a_crash_loop_is_named() -> None:
    """The status tells a crash loop from a single crash."""
    history = [Crash(0, 1, 10, 100)] * (LOOP_CRASHES - 1)
    assert decide_restart(history, ran_ms=10, initial_ms=1, max_ms=10).looping
    assert not decide_restart(history[1:], ran_ms=10, initial_ms=1, max_ms=10).looping


def test_a_very_long_history_does_not_overflow() -> None:
    """The exponent is bounded, so the delay stays at its limit."""
    history = [Crash(0, 1, 10, 100)] * 5000
    assert decide_restart(history, ran_ms=10, initial_ms=100, max_ms=30_000).delay_ms == 30_000
