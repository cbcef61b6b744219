"""A host stops its TaskManagers before anybody can convict it, and harms none when nobody can."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import Invalid
from headrace.guard.hawk.fence import Fence, Holding, Lease, decide_fence, is_hungry
from headrace.guard.hawk.model import Evidence, View
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.views import decide_view

OPTIONS = HawkOptions()
LIMIT = OPTIONS.fence_after_ms
NOW = 1_000_000


def leases(*ages_ms: int | None, convicted: bool = False, answered: tuple[bool, ...] = (False,) * 3) -> list[Lease]:
    """Leases of these ages; None was never held."""
    return [
        Lease(None if age is None else NOW - age, NOW if kernel else None, convicted)
        for age, kernel in zip(ages_ms, answered, strict=True)
    ]


def decide(held: list[Lease], holding: Holding | None = None, now_ms: int = NOW) -> tuple[Fence, Holding]:
    """The decision with the default options."""
    return decide_fence(held, holding or Holding(), now_ms, OPTIONS)


def test_two_fresh_leases_are_enough() -> None:
    """The loss of one observer stops nobody."""
    assert decide(leases(0, 100, 60_000)) == (Fence.RUN, Holding())
    assert decide(leases(0, LIMIT, LIMIT))[0] is Fence.HOLD


def test_an_agent_without_observers_stops_nobody() -> None:
    """Observers that never answered, or only one that did, can convict nobody."""
    assert decide(leases(None, None, None))[0] is Fence.RUN
    assert decide(leases(60_000, None, None))[0] is Fence.RUN


def test_dead_observers_on_living_hosts_do_not_count() -> None:
    """Two of three observer processes may die: their kernels say that the network is whole."""
    assert decide(leases(0, 60_000, 60_000, answered=(False, True, True)))[0] is Fence.RUN
    assert decide(leases(60_000, 60_000, 60_000, answered=(True, True, False)))[0] is Fence.RUN


def test_stopped_taskmanagers_go_on_when_the_lease_is_whole_for_a_while() -> None:
    """A switch that was out for seconds costs a pause, not a restart."""
    _, holding = decide(leases(LIMIT, LIMIT, LIMIT))
    assert decide(leases(10, 10, LIMIT), holding) == (Fence.HOLD, Holding(NOW, NOW))
    late = NOW + OPTIONS.resume_after_ms
    again = [Lease(late), Lease(late), Lease(None)]
    assert decide_fence(again, Holding(NOW, NOW), late, OPTIONS) == (Fence.RUN, Holding())


def test_a_lease_that_breaks_again_starts_the_wait_anew() -> None:
    """Half a second of contact in between does not let a cut host go on."""
    assert decide(leases(LIMIT, LIMIT, 0), Holding(NOW - 200, NOW - 100)) == (Fence.HOLD, Holding(NOW - 200))


def test_a_verdict_kills_and_only_once() -> None:
    """The TaskManagers that a supervisor starts after the kill are not those that were convicted."""
    fence, holding = decide(leases(0, 0, 0, convicted=True), Holding(NOW - 500))
    assert (fence, holding) == (Fence.KILL, Holding(fenced=True))
    assert decide(leases(0, 0, 0, convicted=True), holding) == (Fence.RUN, holding)
    assert decide(leases(0, 0, 0), holding) == (Fence.RUN, Holding())
    assert decide(leases(0, 0, 0, convicted=True), Holding())[0] is Fence.KILL


def test_an_old_acknowledgement_of_a_verdict_kills_nobody() -> None:
    """What an observer said before it was lost is not news."""
    assert decide([Lease(NOW - 5000, NOW, True), Lease(NOW), Lease(NOW)])[0] is Fence.RUN


def test_held_for_too_long_is_killed() -> None:
    """Flink's own time-out replaces it by then; it must not come back."""
    since = NOW - OPTIONS.hold_limit_ms
    fence, holding = decide(leases(LIMIT, LIMIT, LIMIT), Holding(since))
    assert fence is Fence.KILL
    assert holding.fenced


@given(
    sent=st.lists(st.integers(0, 100), min_size=1, max_size=60),
    delay=st.integers(0, 300),
    quiet=st.integers(0, 3000),
)
def test_fenced_before_two_observers_can_vote(sent: list[int], delay: int, quiet: int) -> None:
    """Whatever was sent when and however long it took: when an observer may vote for dead, its lease is lost.

    The observer counts from the reception, the agent from the sending, and acknowledgements may be lost but not invented.
    """
    last_sent = NOW + sum(sent)
    received = last_sent + delay
    now_ms = received + quiet
    view = decide_view(Evidence(received, 0), now_ms, OPTIONS)
    held = [Lease(last_sent), Lease(last_sent), Lease(now_ms)]
    if view is View.DEAD:
        assert decide(held, now_ms=now_ms)[0] is not Fence.RUN


def test_hungry_agents_send_faster() -> None:
    """Two leases that age make an agent send faster long before the limit."""
    assert not is_hungry(leases(100, 100, 60_000), NOW, OPTIONS)
    assert is_hungry(leases(100, 250, 250), NOW, OPTIONS)
    assert not is_hungry(leases(None, None, 250), NOW, OPTIONS)
    assert not is_hungry(leases(0, 60_000, 60_000), NOW, OPTIONS)  # two observers have been away for long


def test_options_that_break_the_promise_are_refused() -> None:
    """A fence behind the verdict would let two hosts write."""
    with pytest.raises(Invalid, match="must be below"):
        HawkOptions(fence_after_ms=1200).check()
    assert HawkOptions().check() == HawkOptions()
