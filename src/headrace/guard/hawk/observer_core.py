"""An observer without its edges: members, views, ballots, verdicts, blocks.

Takes datagrams, kernel answers, Flink's heartbeats and times; gives datagrams to send, hosts to probe, and decisions. Every
observer decides for itself from its own ballot and those of its peers; the one beside a JobManager also acts (`realize`).
Events are told through one function, for log, timeline and metrics.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable

import msgspec

from headrace.guard.hawk.dependencies import UnreachableFrom
from headrace.guard.hawk.gray import is_skewed
from headrace.guard.hawk.keys import host_key, observers_key
from headrace.guard.hawk.members import Answer, Phase, admit, hear, make_cookie, settle
from headrace.guard.hawk.model import (
    Ballot,
    Decision,
    Evidence,
    Facts,
    FailureClass,
    HostFacts,
    HostReport,
    Standing,
    Verdict,
    View,
)
from headrace.guard.hawk.observed import ASK_EVERY_MS, PROBE_EVERY_MS, Address, Host, Turn
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.probation import NO_WRITES, Block, Conviction, decide_block, decide_kept_off, remember
from headrace.guard.hawk.signs import FlinkHeard, Signs
from headrace.guard.hawk.verdicts import NEWS_MS, cast, decide_verdicts
from headrace.guard.hawk.views import Awake, advance, decide_view
from headrace.guard.hawk.wire import (
    BALLOT_HOSTS_MAX,
    CONVICTIONS_MAX,
    NONCE_BYTES,
    Ack,
    BallotBody,
    Challenge,
    Datagram,
    Heartbeat,
    Join,
    Kind,
    Refuse,
    Rejected,
    check_name,
    decode,
    encode,
)
from headrace.guard.hawk.wire import Conviction as ToldConviction

Tell = Callable[..., None]
HOSTS_MAX = 10_000  # more heartbeats than one core can take; only holders of a key come this far
BALLOT_EVERY_MS = 100
BALLOT_HASTE_MS = 40  # while somebody is suspect
OFFSETS_KEPT = 8
TELL_CONVICTED_MS = 5000
DATAGRAM_KINDS_OF_AGENTS = frozenset({Kind.JOIN, Kind.HEARTBEAT})


class ObserverCore:
    """The state of one observer."""

    def __init__(
        self,
        name: str,
        cluster_key: bytes,
        peers: dict[str, Address],
        *,
        boot: int,
        secret: bytes,
        options: HawkOptions,
        tell: Tell,
    ) -> None:
        self.name = check_name(name)
        self.hosts: dict[str, Host] = {}  # ordered by the last heartbeat, oldest first
        self.rejected: dict[str, int] = {}
        self.heartbeats = 0
        self._cluster_key = cluster_key
        self._observers_key = observers_key(cluster_key)
        self._keys: dict[str, bytes] = {}
        self._peers = peers
        self._boot = boot
        self._secret = secret
        self._peer_accepted: dict[str, int] = {}
        self._unsettled: set[str] = set()
        self._news: set[str] = set()
        self._holding: set[str] = set()
        self._ill: set[str] = set()  # hosts whose disk takes no writes
        self._blocks: dict[str, Block] = {}  # given, and not yet ended
        self._options = options.check()
        self._tell = tell
        self._awake = Awake(0, 0)
        self._number = 0
        self._ballot_due_ms = 0
        self._ballots: dict[str, Ballot] = {}
        self._peer_marks: dict[str, tuple[int, int]] = {}  # peer → (boot, greatest number)
        self._peer_nonces: dict[str, bytes] = {}
        self._standing = Standing()
        self._decision = Decision()
        self._told: dict[ToldConviction, int] = {}  # own verdicts on hosts → when they were given
        self._heard_told: dict[ToldConviction, int] = {}  # verdicts of peers → when one was last heard
        self._heard_verdicts: list[Verdict] = []
        self._signs = Signs()
        self.unreachable_from = UnreachableFrom()

    @property
    def awake_ms(self) -> int:
        """The awake clock."""
        return self._awake.awake_ms

    def receive(self, data: bytes, address: Address, now_ms: int, wall_ms: int) -> bytes | None:
        """Take a datagram; returns the answer for `address`, if there is one."""
        try:
            datagram = decode(data, self._find_key)
        except Rejected as rejected:
            self._count(rejected.reason)
            return None
        if datagram.kind is Kind.BALLOT:
            self._take_ballot(datagram, now_ms)
            return None
        return self._take_agent(datagram, address, now_ms, wall_ms)

    def kernel_answered(self, host: str) -> None:
        """The kernel of a host answered a probe."""
        known = self.hosts.get(host)
        if known is not None:
            known.evidence = msgspec.structs.replace(known.evidence, kernel_ms=self.awake_ms)

    def process_answered(self, host: str) -> None:
        """A TaskManager of a host answered a question."""
        self._signs.answered(host, self.awake_ms)

    def flink_heard(self, rows: dict[str, FlinkHeard]) -> None:
        """What Flink says of all its TaskManagers."""
        self._signs.flink_told(rows, self.awake_ms)

    def turn(self, now_ms: int) -> Turn:
        """Judge all hosts; read what waits in the socket before."""
        self._awake = advance(self._awake, now_ms, self._options)
        views, probes, datagrams = self._judge(now_ms)
        asks = self._asks(probes, now_ms)
        convicted = sum(self.hosts[host].member.phase is Phase.CONVICTED for host in views)
        views = {host: view for host, view in views.items() if self.hosts[host].member.phase is not Phase.CONVICTED}
        own = cast(self.name, views, now_ms=now_ms, hosts=len(self.hosts), limit=BALLOT_HOSTS_MAX, convicted=convicted)
        self._ballots[self.name] = own
        datagrams += self._ballot_datagrams(own, now_ms)
        decision, self._standing = decide_verdicts(self._all_facts(), self._standing, now_ms, self._options)
        self._follow(decision, now_ms)
        gone, down = self.unreachable_from.turn(self.living)
        for host in gone:
            self._tell("dependency_unreachable", host=host, names=[])
        if down is not None:
            self._tell("dependency_down", names=list(down))
        heard, self._heard_verdicts = self._heard_verdicts, []
        for verdict in heard:
            self._tell_verdict(verdict)
        return Turn(datagrams, probes, asks, msgspec.structs.replace(decision, verdicts=(*decision.verdicts, *heard)))

    def blocks(self, now_ms: int) -> list[Block]:
        """Hosts that get no work now."""
        self._blocks = {host: block for host, block in self._blocks.items() if block.until_ms > now_ms}
        return list(self._blocks.values())

    def living(self) -> set[str]:
        """Hosts that take part and are heard."""
        return {
            host
            for host, known in self.hosts.items()
            if known.member.phase is Phase.MEMBER and known.view is View.ALIVE
        }

    def kept_off(self, now_ms: int) -> dict[str, str]:
        """Hosts that get no new work now because their disk takes no writes, with the reason."""
        self._ill &= self.hosts.keys()
        if not self._ill:
            return {}
        gray = {host: self.hosts[host].report.gray for host in self._ill}
        on_probation = {block.host for block in self.blocks(now_ms)}
        hosts = decide_kept_off(gray, on_probation, len(self.hosts), self._options)
        return {host: ", ".join(gray[host]) for host in hosts}

    def task_managers(self, host: str) -> tuple[str, ...]:
        """Flink's resource ids of a host's TaskManagers."""
        return self._names(host, job_managers=False)

    def job_managers(self, host: str) -> tuple[str, ...]:
        """Names of a host's JobManagers."""
        return self._names(host, job_managers=True)

    def _names(self, host: str, *, job_managers: bool) -> tuple[str, ...]:
        known = self.hosts.get(host)
        processes = known.report.processes if known else ()
        return tuple(process.name for process in processes if process.is_job_manager is job_managers)

    # --- agents ---

    def _find_key(self, kind: Kind, name: str) -> bytes | None:
        if kind is Kind.BALLOT:
            return self._observers_key if name in self._peers else None
        if kind not in DATAGRAM_KINDS_OF_AGENTS:
            return None
        key = self._keys.get(name)
        return key if key is not None else host_key(self._cluster_key, name)

    def _take_agent(self, datagram: Datagram, address: Address, now_ms: int, wall_ms: int) -> bytes | None:
        host, known = datagram.name, self.hosts.get(datagram.name)
        member = known.member if known else None
        accepted = member.accepted if member else 0
        cookie = make_cookie(self._secret, host, datagram.boot, accepted)
        given = datagram.as_(Join).cookie if datagram.kind is Kind.JOIN else b""
        view = known.view if known else View.DEAD
        match admit(member, datagram.boot, datagram.number, view=view, cookie_ok=given == cookie):
            case Answer.DROP:
                self._count("replay")
                return None
            case Answer.CHALLENGE:
                return self._answer(datagram, Kind.CHALLENGE, Challenge(cookie))
            case Answer.REFUSE:
                if known is not None and known.refused_boot != datagram.boot:
                    known.refused_boot = datagram.boot
                    self._tell("agent_refused", host=host, boot=datagram.boot, address=address[0])
                return self._answer(datagram, Kind.REFUSE, Refuse())
        if known is None and len(self.hosts) >= HOSTS_MAX:
            self._count("hosts")
            return None
        report = (datagram.as_(Join) if datagram.kind is Kind.JOIN else datagram.as_(Heartbeat)).report
        known = self._heard(host, datagram, report, address)
        self._watch_clock(host, known, report, wall_ms)
        known.ack = self._answer(datagram, Kind.ACK, Ack(known.member.phase is Phase.CONVICTED))
        return known.ack

    def _heard(self, host: str, datagram: Datagram, report: HostReport, address: Address) -> Host:
        self.heartbeats += 1
        known = self.hosts.pop(host, None)
        member = known.member if known else None
        silent = known is not None and self.awake_ms - known.evidence.heartbeat_ms >= self._options.suspect_after_ms
        late = silent or (known is not None and known.view is not View.ALIVE and not report.holding)
        member = hear(member, datagram.boot, datagram.number, awake_ms=self.awake_ms, gap=late, fenced=report.fenced)
        evidence = Evidence(self.awake_ms, self.awake_ms, self._held_ms(host, known, report))
        if known is None or known.member.boot != member.boot:
            self._keys[host] = host_key(self._cluster_key, host)
            self._tell("agent_joined", host=host, boot=member.boot, address=address[0], rack=report.rack)
        if known is None:
            known = Host(member, address, evidence)
        if set(report.gray) != set(known.report.gray):
            self._tell("host_gray", host=host, classes=list(report.gray))
            (self._ill.add if NO_WRITES & set(report.gray) else self._ill.discard)(host)
        if self.unreachable_from.hear(host, report.unreachable):
            self._tell("dependency_unreachable", host=host, names=list(report.unreachable))
        if report.leaving and member.phase is not Phase.LEFT:
            self._tell("agent_left", host=host)
            member = msgspec.structs.replace(member, phase=Phase.LEFT)
        known.member, known.address, known.evidence, known.report = member, address, evidence, report
        if late:
            self._tell("host_heard_again", host=host)
        if not report.holding or known.view is not View.DEAD:
            known.view = View.ALIVE
        if member.phase in (Phase.JOINING, Phase.CONVICTED):
            self._unsettled.add(host)
        if any(process.lost_pid and process.lost_age_ms <= NEWS_MS for process in report.processes):
            self._news.add(host)
        self.hosts[host] = known
        return known

    def _held_ms(self, host: str, known: Host | None, report: HostReport) -> int | None:
        if not report.holding:
            self._holding.discard(host)
            return None
        self._holding.add(host)
        since_ms = known.evidence.held_ms if known else None
        return self.awake_ms if since_ms is None else since_ms

    def _watch_clock(self, host: str, known: Host, report: HostReport, wall_ms: int) -> None:
        known.offsets_ms = [*known.offsets_ms[1 - OFFSETS_KEPT :], report.wall_ms - wall_ms]
        skewed = is_skewed(known.offsets_ms, self._options)
        if skewed != known.skewed:
            known.skewed = skewed
            self._tell("clock_skew", host=host, skewed=skewed, offset_ms=known.offsets_ms[-1])

    def _answer(self, datagram: Datagram, kind: Kind, body: object) -> bytes:
        key = self._keys.get(datagram.name) or host_key(self._cluster_key, datagram.name)
        return encode(Datagram(kind, datagram.name, datagram.boot, datagram.number, body), key)

    # --- peers ---

    def _take_ballot(self, datagram: Datagram, now_ms: int) -> None:
        body, peer = datagram.as_(BallotBody), datagram.name
        boot, number = self._peer_marks.get(peer, (0, 0))
        if datagram.boot == boot and datagram.number <= number:
            self._count("replay")
            return
        if datagram.boot != boot:
            if body.echo != self._nonce(peer):
                # A peer that has just started, or a recording of an old one: learn whom to echo, believe nothing.
                self._peer_nonces[peer] = body.nonce
                self._count("echo")
                return
            # From now on another nonce: what this peer's earlier incarnations sent can never be used again.
            self._peer_accepted[peer] = self._peer_accepted.get(peer, 0) + 1
        self._peer_marks[peer] = (datagram.boot, datagram.number)
        self._peer_nonces[peer] = body.nonce
        self._ballots[peer] = Ballot(peer, now_ms, body.views, body.silent, body.hosts)
        for told in body.convicted:
            self._hear_conviction(told, peer, now_ms)

    def _hear_conviction(self, told: ToldConviction, peer: str, now_ms: int) -> None:
        """A peer's quorum held a moment sooner than ours, or it alone knew that Flink is deaf: its verdict is ours, to act on, too.

        It is not told on: observers that repeat each other would never end, and convict a host again that has come back since.
        """
        known = self.hosts.get(told.host)
        if known is None or known.member.boot != told.boot:
            return
        is_new = told not in self._told and told not in self._heard_told
        self._heard_told[told] = now_ms
        if is_new and known.member.phase is not Phase.CONVICTED:
            self._heard_verdicts.append(Verdict(told.host, told.failure, votes=(peer,)))
            self._convict(told.host, told.failure, now_ms)

    def _ballot_datagrams(self, own: Ballot, now_ms: int) -> list[tuple[bytes, Address]]:
        if now_ms < self._ballot_due_ms:
            return []
        self._ballot_due_ms = now_ms + (BALLOT_HASTE_MS if own.silent else BALLOT_EVERY_MS)
        self._number += 1
        self._told = _recent(self._told, now_ms)
        self._heard_told = _recent(self._heard_told, now_ms)
        convicted = tuple(self._told)[-CONVICTIONS_MAX:]
        return [(self._encode_ballot(own, peer, convicted), address) for peer, address in self._peers.items()]

    def _encode_ballot(self, own: Ballot, peer: str, convicted: tuple[ToldConviction, ...]) -> bytes:
        echo = self._peer_nonces.get(peer, b"")
        body = BallotBody(self._nonce(peer), echo, own.views, own.silent, own.hosts, convicted)
        return encode(Datagram(Kind.BALLOT, self.name, self._boot, self._number, body), self._observers_key)

    def _nonce(self, peer: str) -> bytes:
        """What a new incarnation of a peer has to echo."""
        text = f"nonce|{peer}|{self._peer_accepted.get(peer, 0)}".encode()
        return hmac.digest(self._secret, text, "sha256")[:NONCE_BYTES]

    # --- judging ---

    def _judge(self, now_ms: int) -> tuple[dict[str, View], list[tuple[str, str]], list[tuple[bytes, Address]]]:
        """Views of hosts that are not alive, with probes and repeated acknowledgements for them."""
        views: dict[str, View] = {}
        probes: list[tuple[str, str]] = []
        datagrams: list[tuple[bytes, Address]] = []
        gone: list[str] = []
        for host in self._late_hosts():
            known = self.hosts[host]
            view = decide_view(known.evidence, self.awake_ms, self._options)
            if view is View.ALIVE:
                continue
            phase = known.member.phase
            if phase in (Phase.LEFT, Phase.JOINING):
                if view is View.DEAD:
                    gone.append(host)
                continue
            if view is not known.view:
                known.view = view
                self._tell("view_changed", host=host, view=view)
            past = known.convicted_ms is not None and now_ms - known.convicted_ms > self._options.brake_window_ms
            if phase is not Phase.CONVICTED or not past:
                views[host] = view
            if now_ms - known.probed_ms >= PROBE_EVERY_MS:
                known.probed_ms = now_ms
                probes.append((host, known.address[0]))
                if known.ack:
                    # The lease must not be lost with acknowledgements that the network drops.
                    datagrams.append((known.ack, known.address))
        for host in gone:
            del self.hosts[host]
            self._signs.forget(host)
        self._settle_members()
        return views, probes, datagrams

    def _asks(self, probes: list[tuple[str, str]], now_ms: int) -> list[tuple[str, str, int]]:
        """Questions to the TaskManagers of hosts whose kernel is asked, too."""
        asks: list[tuple[str, str, int]] = []
        for host, address in probes:
            known = self.hosts[host]
            if known.member.phase is Phase.MEMBER and now_ms - known.asked_ms >= ASK_EVERY_MS:
                known.asked_ms = now_ms
                asks += [(host, address, port) for port in self._signs.ports(self.task_managers(host))]
        return asks

    def _late_hosts(self) -> list[str]:
        """Hosts that may not be alive: those not heard for a while, and those that say that they hold."""
        late = []
        for host, known in self.hosts.items():
            if self.awake_ms - known.evidence.heartbeat_ms < self._options.suspect_after_ms:
                break  # all that follow were heard later
            late.append(host)
        return [*late, *(host for host in self._holding if host in self.hosts and host not in late)]

    def _settle_members(self) -> None:
        for host in list(self._unsettled):
            known = self.hosts.get(host)
            if known is None or known.member.phase not in (Phase.JOINING, Phase.CONVICTED):
                self._unsettled.discard(host)
            elif known.view is View.ALIVE:
                settled = settle(known.member, self.awake_ms, self._options)
                if settled.phase is not known.member.phase:
                    self._tell("host_member", host=host, after=known.member.phase)
                    known.convicted_ms = None
                known.member = settled

    def _all_facts(self) -> Facts:
        """Facts of the hosts that a ballot names or that have lost a process; racks only when somebody is silent."""
        named = {host for ballot in self._ballots.values() for host in ballot.views}
        hosts = {host: self._facts(host) for host in named | self._news if host in self.hosts}
        self._news.clear()
        racks = Counter(known.report.rack for known in self.hosts.values()) if named else Counter[str]()
        del racks[""]
        return Facts(tuple(self._ballots.values()), hosts, len(self.hosts), dict(racks))

    def _facts(self, host: str) -> HostFacts:
        known = self.hosts[host]
        return HostFacts(
            rack=known.report.rack,
            processes=known.report.processes,
            silence_ms=self._signs.silence_ms(host, self.task_managers(host), self.awake_ms),
            convicted=known.member.phase is not Phase.MEMBER,
        )

    def _follow(self, decision: Decision, now_ms: int) -> None:
        before, self._decision = self._decision, decision
        for field in ("held", "link_faults", "sick_observers"):
            if getattr(before, field) != getattr(decision, field):
                self._tell(field, names=list(getattr(decision, field)))
        for verdict in decision.verdicts:
            self._tell_verdict(verdict)
            if verdict.process:
                self._remember(verdict.host, verdict.failure, now_ms)
            else:
                boot = self.hosts[verdict.host].member.boot
                self._told[ToldConviction(verdict.host, boot, verdict.failure)] = now_ms
                self._convict(verdict.host, verdict.failure, now_ms)

    def _convict(self, host: str, failure: FailureClass, now_ms: int) -> None:
        known = self.hosts[host]
        known.member = msgspec.structs.replace(known.member, phase=Phase.CONVICTED, fenced=False)
        known.convicted_ms = now_ms
        self._remember(host, failure, now_ms)
        if known.ack:
            number = Datagram(Kind.ACK, host, known.member.boot, known.member.sequence, None)
            known.ack = self._answer(number, Kind.ACK, Ack(True))

    def _remember(self, host: str, failure: FailureClass, now_ms: int) -> None:
        """One more verdict in a host's history, which may block it."""
        known = self.hosts[host]
        known.history = remember(known.history, Conviction(now_ms, failure), self._options)
        standing = self.blocks(now_ms)
        block = decide_block(host, known.history, standing, len(self.hosts), now_ms, self._options)
        if block is not None:
            self._blocks[host] = block

    def _tell_verdict(self, verdict: Verdict) -> None:
        self._tell(
            "verdict",
            host=verdict.host,
            failure=verdict.failure,
            process=verdict.process,
            pid=verdict.pid,
            votes=list(verdict.votes),
        )

    def _count(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1


def _recent(verdicts: dict[ToldConviction, int], now_ms: int) -> dict[ToldConviction, int]:
    """Those that may still be told; one that was heard within that time is no news."""
    return {told: at_ms for told, at_ms in verdicts.items() if now_ms - at_ms <= TELL_CONVICTED_MS}
