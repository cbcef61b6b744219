"""Which sessions are shed, and how the share of them moves."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.ingest.shedding import Load, Shedding, ShedLimits, decide_shedding, is_shed

LIMITS = ShedLimits()


def run(share: float, load: Load, *, ticks: int) -> float:
    """The share after so many ticks of the same load."""
    state = Shedding(share)
    for _ in range(ticks):
        state = decide_shedding(state, load, LIMITS)
    return state.share


def test_grows_over_the_high_mark_and_shrinks_slowly_under_the_low_one() -> None:
    """Between the marks the share is held; it never leaves [0, share_max]."""
    assert run(0.0, Load(0.6), ticks=LIMITS.patience_ticks) == LIMITS.grow
    assert run(0.3, Load(0.4), ticks=10) == 0.3
    assert run(0.3, Load(0.1), ticks=1) == 0.3 - LIMITS.shrink
    assert run(0.0, Load(0.1), ticks=10) == 0.0
    assert run(LIMITS.share_max, Load(1.0), ticks=10) == LIMITS.share_max


def test_a_short_burst_silences_nobody() -> None:
    """Only load that stays sheds; a calm tick starts the count anew."""
    assert run(0.0, Load(1.0, lag_ms=5000), ticks=LIMITS.patience_ticks - 1) == 0.0
    state = Shedding(0.0, LIMITS.patience_ticks - 1)
    state = decide_shedding(state, Load(0.4), LIMITS)
    assert decide_shedding(state, Load(1.0), LIMITS).share == 0.0


def test_a_late_event_loop_is_load_too() -> None:
    """When the process itself cannot keep up, sessions are shed although Kafka could take more."""
    assert run(0.0, Load(0.0, lag_ms=1500), ticks=LIMITS.patience_ticks) == LIMITS.grow
    assert run(0.3, Load(0.0, lag_ms=700), ticks=10) == 0.3


def test_an_outage_is_not_an_overload() -> None:
    """While Kafka does not answer, no session is silenced for it: they are told to send again."""
    assert run(0.0, Load(1.0, stalled=True), ticks=100) == 0.0


@given(st.text(min_size=1, max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_a_shed_session_stays_shed_while_the_share_grows(sid: str, one: float, other: float) -> None:
    """The choice is a function of the id alone, and monotonic in the share."""
    low, high = sorted((one, other))
    assert is_shed(sid, low) <= is_shed(sid, high)
    assert not is_shed(sid, 0.0)
    assert is_shed(sid, 1.0)


def test_the_share_of_sessions_is_the_share_asked_for() -> None:
    """The hash is even, also over ids that differ in their last digits only."""
    sids = [f"player-{number}" for number in range(20_000)]
    for share in (0.05, 0.3, 0.95):
        assert abs(sum(is_shed(sid, share) for sid in sids) / len(sids) - share) < 0.01
