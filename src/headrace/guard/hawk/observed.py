"""What an observer knows of one host, and what it has to do after a turn; no behaviour."""

from __future__ import annotations

import msgspec

from headrace.guard.hawk.members import Member
from headrace.guard.hawk.model import Decision, Evidence, HostReport, View
from headrace.guard.hawk.probation import Conviction

PROBE_EVERY_MS = 50
ASK_EVERY_MS = 200  # a running process answers in milliseconds; a frozen one must queue few connections

Address = tuple[str, int]


class Host:
    """What an observer knows of one host."""

    def __init__(self, member: Member, address: Address, evidence: Evidence) -> None:
        self.member = member
        self.address = address
        self.evidence = evidence
        self.report = HostReport()
        self.view = View.ALIVE
        self.ack = b""
        self.probed_ms = -PROBE_EVERY_MS
        self.asked_ms = -ASK_EVERY_MS
        self.convicted_ms: int | None = None
        self.offsets_ms: list[int] = []
        self.skewed = False
        self.refused_boot = 0
        self.history: tuple[Conviction, ...] = ()


class Turn(msgspec.Struct, frozen=True):
    """What is to be done after a turn."""

    datagrams: list[tuple[bytes, Address]]
    probes: list[tuple[str, str]]  # (host, IP address)
    asks: list[tuple[str, str, int]]  # (host, IP address, port of a TaskManager)
    decision: Decision
