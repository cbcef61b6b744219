"""Agents join, leave and come back without flapping; nobody can be replayed or doubled."""

from __future__ import annotations

import msgspec

from headrace.guard.hawk.members import Answer, Member, Phase, admit, hear, make_cookie, settle
from headrace.guard.hawk.model import View
from headrace.guard.hawk.options import HawkOptions

OPTIONS = HawkOptions()
SECRET = b"s" * 16


def joined(boot: int = 1) -> Member:
    """A member that has beaten long enough."""
    member = None
    for sequence in range(1, OPTIONS.join_beats + 1):
        member = hear(member, boot, sequence, awake_ms=sequence * 100, gap=False, fenced=False)
    assert member is not None
    return settle(member, 600, OPTIONS)


def test_a_new_agent_is_challenged_and_joins_after_some_beats() -> None:
    """Nobody is judged before he has beaten steadily."""
    assert admit(None, 1, 1, view=View.DEAD, cookie_ok=False) is Answer.CHALLENGE
    assert admit(None, 1, 1, view=View.DEAD, cookie_ok=True) is Answer.ACK
    member = hear(None, 1, 1, awake_ms=0, gap=False, fenced=False)
    assert settle(member, 10_000, OPTIONS).phase is Phase.JOINING
    assert joined().phase is Phase.MEMBER


def test_numbers_only_grow() -> None:
    """A datagram that was recorded, doubled or overtaken is dropped."""
    member = joined()
    assert admit(member, 1, member.sequence, view=View.ALIVE, cookie_ok=False) is Answer.DROP
    assert admit(member, 1, member.sequence - 1, view=View.DEAD, cookie_ok=True) is Answer.DROP
    assert admit(member, 1, member.sequence + 1, view=View.DEAD, cookie_ok=False) is Answer.ACK


def test_a_second_agent_of_one_name_is_refused_while_the_first_beats() -> None:
    """The first goes on undisturbed; when it is late, a restarted agent takes over by its cookie."""
    member = joined()
    assert admit(member, 2, 1, view=View.ALIVE, cookie_ok=True) is Answer.REFUSE
    assert admit(member, 2, 1, view=View.SUSPECT, cookie_ok=False) is Answer.CHALLENGE
    assert admit(member, 2, 1, view=View.SUSPECT, cookie_ok=True) is Answer.ACK


def test_a_recorded_join_cannot_be_used_again() -> None:
    """Each accepted incarnation changes the cookie of all others."""
    first = make_cookie(SECRET, "h1", 1, 0)
    member = hear(None, 1, 1, awake_ms=0, gap=False, fenced=False)
    assert make_cookie(SECRET, "h1", 1, member.accepted) != first
    assert len({make_cookie(SECRET, host, boot, 1) for host in "ab" for boot in (1, 2)}) == 4


def test_an_agent_that_left_may_come_back_at_once() -> None:
    """Leaving is no death; a rolling restart is not held up."""
    left = msgspec.structs.replace(joined(), phase=Phase.LEFT)
    assert admit(left, 2, 1, view=View.ALIVE, cookie_ok=True) is Answer.ACK
    assert hear(left, 2, 1, awake_ms=0, gap=False, fenced=False).phase is Phase.JOINING


def test_a_convicted_host_must_be_fenced_and_steady_to_count_again() -> None:
    """A host that comes and goes every second stays convicted."""
    member = msgspec.structs.replace(joined(), phase=Phase.CONVICTED)
    back = hear(member, 1, 100, awake_ms=10_000, gap=True, fenced=False)
    assert settle(back, 10_000 + OPTIONS.rejoin_ms, OPTIONS).phase is Phase.CONVICTED  # has not killed
    back = hear(back, 1, 101, awake_ms=10_100, gap=False, fenced=True)
    assert settle(back, 11_999, OPTIONS).phase is Phase.CONVICTED
    gap = hear(back, 1, 102, awake_ms=11_900, gap=True, fenced=True)
    assert settle(gap, 12_000, OPTIONS).phase is Phase.CONVICTED
    assert settle(back, 12_000, OPTIONS).phase is Phase.MEMBER


def test_a_convicted_host_that_boots_anew_stays_convicted_until_steady() -> None:
    """A machine that reboots every minute is not well because it is new."""
    member = msgspec.structs.replace(joined(), phase=Phase.CONVICTED)
    assert hear(member, 2, 1, awake_ms=0, gap=False, fenced=True).phase is Phase.CONVICTED
