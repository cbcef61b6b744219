"""Which latch nodes of a dead leader may be removed; pure.

Flink's JobManagers queue at a latch in ZooKeeper: each has an ephemeral node below `latch`, the oldest one leads and writes its
address to `resource_manager/connection_info`, an ephemeral node of the same session. When the process dies, both stay
until the session's time-out; removing its latch node lets the next one lead at once.

A leader does not watch its own latch node. If it lives, it would go on leading beside its successor, so a leader that
still answers keeps its node, whatever the verdict says; its host's agent kills it, and the next try finds it silent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from headrace.flink.protocol import Revocation


class Seat(NamedTuple):
    """A node in ZooKeeper and the session that it lives and dies with."""

    path: str
    session: int


class Lead(NamedTuple):
    """Who leads by `connection_info`: its RPC address, the hosts that this address names, its session, whether it answers."""

    address: str
    hosts: frozenset[str]
    session: int
    answers: bool


class Removal(NamedTuple):
    """What to do: the nodes to remove, and what that means."""

    outcome: Revocation
    paths: tuple[str, ...] = ()


def decide_removal(lead: Lead | None, seats: Sequence[Seat], convicted: Collection[str]) -> Removal:
    """Decide which latch nodes of a convicted leader go.

    Pure. Only nodes of the session that published the convicted leader's address: a JobManager that has been started again
    under the old address has a session of its own and keeps its place.

    Args:
        lead: None when nobody has published an address.
        seats: the nodes at the latch.
        convicted: addresses and names of the host that is lost.
    """
    if lead is None:
        return Removal(Revocation.NO_LEADER)
    if not lead.hosts & frozenset(convicted):
        return Removal(Revocation.OTHER)
    if lead.answers:
        return Removal(Revocation.ANSWERS)
    paths = tuple(seat.path for seat in seats if seat.session == lead.session)
    return Removal(Revocation.REVOKED, paths) if paths else Removal(Revocation.ALREADY)
