"""Who takes part: agents join, leave, come back after a verdict; two agents under one name; all without flapping.

An incarnation is one run of an agent, named by a random boot number. A new one has to echo a cookie that binds its boot number
to how many incarnations the observer has accepted before, so a recorded join can never be used again. While an incarnation
beats, another one of the same name is refused: two agents with one id do not fight, the second ends with an error.
"""

from __future__ import annotations

import hmac
from enum import StrEnum

import msgspec

from headrace.guard.hawk.model import View
from headrace.guard.hawk.options import HawkOptions

COOKIE_BYTES = 8


class Phase(StrEnum):
    """Where a member stands."""

    JOINING = "joining"  # beats, but not long enough to be judged
    MEMBER = "member"
    CONVICTED = "convicted"  # a verdict stands
    LEFT = "left"


class Member(msgspec.Struct, frozen=True):
    """An agent as its observer keeps it.

    Args:
        boot: number of the incarnation.
        sequence: greatest heartbeat number seen.
        accepted: how many incarnations there were, this one included.
        beats: heartbeats since it joined, up to what joining needs.
        steady_ms: awake time since when it beats without a gap; for coming back after a verdict.
    """

    boot: int
    sequence: int
    accepted: int
    phase: Phase = Phase.JOINING
    beats: int = 0
    steady_ms: int = 0
    fenced: bool = False


class Answer(StrEnum):
    """How a datagram of an agent is answered."""

    ACK = "ack"
    CHALLENGE = "challenge"
    REFUSE = "refuse"
    DROP = "drop"


def make_cookie(secret: bytes, host: str, boot: int, accepted: int) -> bytes:
    """The proof that an agent heard this observer, now: bound to its boot number and to the incarnations so far."""
    text = f"{host}|{boot}|{accepted}".encode()
    return hmac.digest(secret, text, "sha256")[:COOKIE_BYTES]


def admit(member: Member | None, boot: int, sequence: int, *, view: View, cookie_ok: bool) -> Answer:
    """Decide how to answer an authentic datagram.

    Args:
        member: what is known of the host's agent, None if nothing.
        boot: the datagram's incarnation.
        sequence: its number.
        view: the observer's present view of the host.
        cookie_ok: it echoes the cookie that a new incarnation must know.
    """
    if member is not None and member.boot == boot:
        return Answer.ACK if sequence > member.sequence else Answer.DROP
    if member is not None and member.phase is not Phase.LEFT and view is View.ALIVE:
        return Answer.REFUSE
    return Answer.ACK if cookie_ok else Answer.CHALLENGE


def hear(member: Member | None, boot: int, sequence: int, *, awake_ms: int, gap: bool, fenced: bool) -> Member:
    """The member after an admitted heartbeat; `gap` says that it was late, so its steadiness begins anew."""
    if member is None or member.boot != boot:
        convicted = member is not None and member.phase is Phase.CONVICTED
        accepted = 1 if member is None else member.accepted + 1
        phase = Phase.CONVICTED if convicted else Phase.JOINING
        return Member(boot, sequence, accepted, phase, beats=1, steady_ms=awake_ms, fenced=fenced)
    steady_ms = awake_ms if gap else member.steady_ms
    return Member(boot, sequence, member.accepted, member.phase, member.beats + 1, steady_ms, member.fenced or fenced)


def settle(member: Member, awake_ms: int, options: HawkOptions) -> Member:
    """The member after the steps that time brings: joined, or well again after a verdict."""
    steady = awake_ms - member.steady_ms >= options.rejoin_ms
    well = member.phase is Phase.CONVICTED and steady and member.fenced
    if well or (member.phase is Phase.JOINING and member.beats >= options.join_beats):
        return msgspec.structs.replace(member, phase=Phase.MEMBER, fenced=False)
    return member
