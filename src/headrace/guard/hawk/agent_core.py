"""An agent without its edges: what to send, what an answer means, what the TaskManagers shall do.

Takes datagrams and times, gives datagrams and decisions; sockets, processes and clocks are in `agent`. One heartbeat goes to
all observers under one number; an observer that does not know this incarnation yet gets it as a JOIN with its cookie.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace.core.errors import Conflict
from headrace.guard.hawk.fence import Fence, Holding, Lease, decide_fence, is_hungry
from headrace.guard.hawk.model import HostReport
from headrace.guard.hawk.options import QUORUM, HawkOptions
from headrace.guard.hawk.wire import (
    Ack,
    Challenge,
    Datagram,
    Heartbeat,
    Join,
    Kind,
    Rejected,
    check_name,
    decode,
    encode,
)

SENT_MAX = 1024  # numbers remembered: 20 s of hungry heartbeats, longer than any lease
HUNGRY_INTERVAL_MS = 20
REFUSED_MS = 3000  # refused by a quorum for this long: another agent has this name
ANSWERS = (Kind.CHALLENGE, Kind.ACK, Kind.REFUSE)


class Peer:
    """What the agent knows of one observer."""

    def __init__(self) -> None:
        self.lease = Lease()
        self.cookie = b""
        self.joined = False
        self.refused_ms: int | None = None


class AgentCore:
    """The state of one incarnation of an agent."""

    def __init__(self, host: str, key: bytes, observers: int, *, boot: int, options: HawkOptions) -> None:
        self.host = check_name(host)
        self._key = key
        self._boot = boot
        self._options = options.check()
        self._peers = [Peer() for _ in range(observers)]
        self._number = 0
        self._sent: dict[int, int] = {}
        self._due_ms = 0
        self._rejoin: set[int] = set()
        self._holding = Holding()
        self.rejected: dict[str, int] = {}
        self.acknowledged = [0] * observers

    @property
    def heartbeats(self) -> int:
        """How many heartbeats were sent."""
        return self._number

    @property
    def leases(self) -> list[Lease]:
        """The leases, in the order of the observers."""
        return [peer.lease for peer in self._peers]

    @property
    def fenced(self) -> bool:
        """Whether the TaskManagers of the last verdict have been killed."""
        return self._holding.fenced

    def due_in_ms(self, now_ms: int) -> int:
        """How long until `beat` has something to send."""
        return 0 if self._rejoin else max(0, self._due_ms - now_ms)

    def beat(self, report: HostReport, now_ms: int, *, at_once: bool = False) -> list[tuple[int, bytes]]:
        """The datagrams due now, as (index of the observer, bytes); with `at_once`, as soon as there is news."""
        due = at_once or now_ms >= self._due_ms
        targets = range(len(self._peers)) if due else sorted(self._rejoin)
        if not targets:
            return []
        self._rejoin.clear()
        if due:
            hungry = is_hungry(self.leases, now_ms, self._options)
            interval_ms = HUNGRY_INTERVAL_MS if hungry else self._options.heartbeat_interval_ms
            # From the last due time, so that a late turn does not shift all later ones; never more than one behind or ahead.
            self._due_ms = min(max(self._due_ms + interval_ms, now_ms + interval_ms // 2), now_ms + interval_ms)
        self._number += 1
        self._sent[self._number] = now_ms
        while len(self._sent) > SENT_MAX:
            del self._sent[next(iter(self._sent))]
        common = self._encode(Kind.HEARTBEAT, Heartbeat(report))
        return [
            (index, common if peer.joined else self._encode(Kind.JOIN, Join(peer.cookie, report)))
            for index, peer in ((index, self._peers[index]) for index in targets)
        ]

    def hear(self, index: int, data: bytes, now_ms: int) -> None:
        """Take an answer of observer `index`; what is not authentic or not an answer to this incarnation is counted.

        Raises:
            Conflict: another agent of this name is running.
        """
        try:
            datagram = decode(data, lambda kind, name: self._key if kind in ANSWERS and name == self.host else None)
        except Rejected as rejected:
            self._count(rejected.reason)
            return
        sent_ms = self._sent.get(datagram.number)
        if datagram.boot != self._boot or sent_ms is None:
            self._count("stale")
            return
        peer = self._peers[index]
        match datagram.kind:
            case Kind.ACK:
                self.acknowledged[index] += 1
                self._acked(peer, sent_ms, datagram.as_(Ack))
            case Kind.CHALLENGE:
                if peer.cookie != datagram.as_(Challenge).cookie or peer.joined:
                    peer.cookie, peer.joined = datagram.as_(Challenge).cookie, False
                    self._rejoin.add(index)
            case _:
                self._refused(peer, now_ms)

    def hear_kernel(self, index: int, now_ms: int) -> None:
        """The kernel of observer `index` answered a probe."""
        peer = self._peers[index]
        peer.lease = msgspec.structs.replace(peer.lease, answered_ms=now_ms)

    def late_observers(self, now_ms: int) -> list[int]:
        """Observers that have not acknowledged for `suspect_after_ms`: their kernels are to be asked."""
        limit = self._options.suspect_after_ms
        leases = enumerate(self.leases)
        return [index for index, lease in leases if lease.acked_ms is not None and now_ms - lease.acked_ms >= limit]

    def fence(self, now_ms: int) -> Fence:
        """What the TaskManagers shall do now."""
        fence, self._holding = decide_fence(self.leases, self._holding, now_ms, self._options)
        return fence

    def _acked(self, peer: Peer, sent_ms: int, ack: Ack) -> None:
        peer.joined, peer.refused_ms = True, None
        if peer.lease.acked_ms is None or sent_ms >= peer.lease.acked_ms:
            peer.lease = msgspec.structs.replace(peer.lease, acked_ms=sent_ms, convicted=ack.convicted)

    def _refused(self, peer: Peer, now_ms: int) -> None:
        peer.joined = False
        peer.refused_ms = now_ms if peer.refused_ms is None else peer.refused_ms
        since = sorted(each.refused_ms for each in self._peers if each.refused_ms is not None)
        if len(since) >= min(QUORUM, len(self._peers)) and now_ms - since[min(QUORUM, len(since)) - 1] >= REFUSED_MS:
            raise Conflict(
                "another agent runs under this name",
                context={"host": self.host},
                hint="give each host its own name with `--host`, or stop the other agent",
            )

    def _encode(self, kind: Kind, body: object) -> bytes:
        return encode(Datagram(kind, self.host, self._boot, self._number, body), self._key)

    def _count(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1


def describe(leases: Sequence[Lease], now_ms: int) -> list[str]:
    """The ages of leases for a log line."""
    return ["never" if lease.acked_ms is None else f"{now_ms - lease.acked_ms} ms" for lease in leases]
