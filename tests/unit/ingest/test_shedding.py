"""Which sessions are shed, and how the share of them moves."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.ingest.shedding import Load, ShedLimits, decide_share, is_shed

LIMITS = ShedLimits()


def test_grows_over_the_high_mark_and_shrinks_slowly_under_the_low_one() -> None:
    """Between the marks the share is held; it never leaves [0, share_max]."""
    assert decide_share(0.0, Load(0.6), LIMITS) == LIMITS.grow
    assert decide_share(0.3, Load(0.4), LIMITS) == 0.3
    assert decide_share(0.3, Load(0.1), LIMITS) == 0.3 - LIMITS.shrink
    assert decide_share(0.0, Load(0.1), LIMITS) == 0.0
    assert decide_share(LIMITS.share_max, Load(1.0), LIMITS) == LIMITS.share_max


def test_a_late_event_loop_is_load_too() -> None:
    """When the process itself cannot keep up, sessions are shed although Kafka could take more."""
    assert decide_share(0.0, Load(0.0, lag_ms=800), LIMITS) == LIMITS.grow
    assert decide_share(0.3, Load(0.0, lag_ms=300), LIMITS) == 0.3


def test_an_outage_is_not_an_overload() -> None:
    """While Kafka does not answer, no session is silenced for it: they are told to send again."""
    assert decide_share(0.0, Load(1.0, stalled=True), LIMITS) == 0.0


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
