"""Silence counts only while the observer is awake, and a kernel that answers is no dead host."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.guard.hawk.model import Evidence, View
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.views import Awake, advance, decide_view

OPTIONS = HawkOptions()
TICK_MS = 20


def turn(awake: Awake, gaps_ms: list[int]) -> Awake:
    """The clock after turns that lie this far apart."""
    for gap_ms in gaps_ms:
        awake = advance(awake, awake.turned_ms + gap_ms, OPTIONS)
    return awake


def test_a_steady_loop_counts_all_of_its_time() -> None:
    """An awake observer's clock is the clock."""
    assert turn(Awake(0, 0), [TICK_MS] * 50).awake_ms == 1000


def test_an_observer_that_was_stopped_counts_one_step() -> None:
    """After a pause of an hour no host is silent for more than a step."""
    awake = turn(Awake(0, 0), [3_600_000])
    assert awake.awake_ms == OPTIONS.awake_step_ms
    assert decide_view(Evidence(0, 0), awake.awake_ms, OPTIONS) is View.ALIVE


@given(st.lists(st.integers(-5_000, 100_000), max_size=50))
def test_the_clock_never_goes_back_or_runs_ahead(gaps_ms: list[int]) -> None:
    """Jumps of the clock below add at most a step a turn, and nothing when they lead back."""
    before = Awake(0, 0)
    for gap_ms in gaps_ms:
        after = advance(before, before.turned_ms + gap_ms, OPTIONS)
        assert 0 <= after.awake_ms - before.awake_ms <= min(OPTIONS.awake_step_ms, max(0, gap_ms))
        before = after


def view_of(*, agent_silence: int, kernel_silence: int | None = None) -> View:
    """The view at these silences; a kernel that was never asked is as silent as the agent."""
    now_ms = 100_000
    kernel_ms = now_ms - kernel_silence if kernel_silence is not None else 0
    return decide_view(Evidence(now_ms - agent_silence, kernel_ms), now_ms, OPTIONS)


def test_views_by_silence() -> None:
    """Late is suspect, silent for long is dead, and only when nothing of the host answers."""
    assert view_of(agent_silence=399) is View.ALIVE
    assert view_of(agent_silence=400) is View.SUSPECT
    assert view_of(agent_silence=1199) is View.SUSPECT
    assert view_of(agent_silence=1200) is View.DEAD
    assert view_of(agent_silence=60_000, kernel_silence=50) is View.STALLED
    assert view_of(agent_silence=60_000, kernel_silence=1199) is View.SUSPECT
    assert view_of(agent_silence=60_000, kernel_silence=1200) is View.DEAD


def test_a_kernel_answer_before_the_last_heartbeat_says_nothing() -> None:
    """An old answer does not make a host stalled that has beaten since."""
    assert view_of(agent_silence=1199, kernel_silence=2000) is View.SUSPECT
