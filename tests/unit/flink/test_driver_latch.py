"""Who loses a place at the latch: only the dead leader's own session, and only when nobody answers for it."""

from __future__ import annotations

import pytest
from driver.latch import Lead, Removal, Seat, decide_removal

from headrace.flink.protocol import Revocation

A, B = "10.0.0.1", "10.0.0.2"
SEATS = (Seat("latch/_c_1-latch-0000000007", 71), Seat("latch/_c_2-latch-0000000008", 72))


def lead(host: str = A, session: int = 71, *, answers: bool = False) -> Lead:
    """A published leader."""
    return Lead(f"pekko.tcp://flink@{host}:6123/user/rpc/resourcemanager_0", frozenset({host}), session, answers)


def test_the_dead_leaders_node_goes_and_no_other() -> None:
    """By its session, not by its place in the queue."""
    for seats in (SEATS, SEATS[::-1]):
        assert decide_removal(lead(), seats, (A, "h1")) == Removal(Revocation.REVOKED, (SEATS[0].path,))


def test_a_leader_that_answers_keeps_its_node() -> None:
    """It would not notice the loss and lead on beside its successor."""
    assert decide_removal(lead(answers=True), SEATS, (A,)) == Removal(Revocation.ANSWERS)


@pytest.mark.parametrize("convicted", [(), (B,), ("10.0.0.11",), ("h1",)])
def test_a_verdict_on_another_host_leaves_the_leader_alone(convicted: tuple[str, ...]) -> None:
    """A standby's host, an address that only begins alike, a name that is not the leader's."""
    assert decide_removal(lead(), SEATS, convicted) == Removal(Revocation.OTHER)


def test_a_leader_is_known_by_its_name_or_its_address() -> None:
    """Flink publishes what `jobmanager.rpc.address` says, the agent is known by the address that it sends from."""
    named = Lead("pekko.tcp://flink@jm1:6123/user/rpc/resourcemanager_0", frozenset({"jm1", A}), 71, False)
    for convicted in ((A, "h1"), ("10.9.9.9", "jm1")):
        assert decide_removal(named, SEATS, convicted).outcome is Revocation.REVOKED


def test_a_second_time_there_is_nothing_to_do() -> None:
    """The address stays published until the session ends; its successor's node is another session's."""
    assert decide_removal(lead(), SEATS[1:], (A,)) == Removal(Revocation.ALREADY)


def test_one_that_started_again_at_the_old_address_keeps_its_place() -> None:
    """Its session is its own; what is published is still its predecessor's."""
    restarted = (*SEATS, Seat("latch/_c_3-latch-0000000009", 73))
    assert decide_removal(lead(), restarted, (A,)).paths == (SEATS[0].path,)
    assert decide_removal(lead(), restarted[1:], (A,)) == Removal(Revocation.ALREADY)


def test_nobody_has_published_an_address() -> None:
    """Then it is not known whose nodes these are."""
    assert decide_removal(None, SEATS, (A,)) == Removal(Revocation.NO_LEADER)
