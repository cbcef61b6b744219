"""Carry out verdicts: tell Flink's ResourceManager, through the driver's JVM, and keep hosts on probation free of work.

A verdict on a JobManager first takes the lead from it, if it led and answers no more (`driver.latch`): the standby leads at once instead
of after the session's time-out. Only then is there a ResourceManager that can be told of the host's TaskManagers.

One thread with a queue, so that detection never waits for a JobManager that is away. A verdict is tried until it is told, it is too old, or
it no longer holds: a TaskManager that has been restarted under its old name must not be disconnected for its predecessor's
death. Telling twice does no harm (to Flink an unknown TaskManager is a debug line), so several observers may act.

A second thread asks Flink twice a second when it last heard each TaskManager; for frozen hosts, and to keep the way open. Where that thread is
not wanted, the first one asks once in a while: the first call after a start, and after the JobManager's, took 4.8 s, any other one 0.04 s.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Protocol

import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError
from headrace.flink.protocol import (
    BlockNodes,
    Disconnect,
    Disconnected,
    LeaderRevoked,
    ListTaskManagers,
    NodeBlock,
    NodesBlocked,
    RevokeLeader,
    TaskManagers,
)
from headrace.guard.hawk.model import Verdict
from headrace.guard.hawk.signs import FlinkHeard
from headrace.guard.hawk.spares import find_exposed

Tell = Callable[..., None]
QUEUE_MAX = 256  # verdicts that wait; the brake lets no more through at once
RETRY_S = 0.5
GIVE_UP_S = 60.0  # Flink's own heartbeat time-out (20 s in the profile) has acted long before
POLL_S, POLL_EAGER_S = 0.5, 0.2  # a heartbeat (every second) is seen at most half a second late
_NOBODY = Disconnected(gone=(), unknown=())
RENEW_S, KEEP_OFF_S = 30.0, 90.0  # two renewals may be lost before a retired host gets work
NODES_MAX = 20_000  # names of TaskManagers remembered; on Kubernetes each restart brings a new one


class ResourceManager(Protocol):
    """What is asked of Flink; `headrace.flink.driver_client.DriverClient` is one."""

    def disconnect(self, request: Disconnect) -> Disconnected:
        """Disconnect TaskManagers."""
        ...

    def list_task_managers(self, request: ListTaskManagers) -> TaskManagers:
        """The registered TaskManagers."""
        ...

    def block_nodes(self, request: BlockNodes) -> NodesBlocked:
        """Keep work off nodes."""
        ...

    def revoke_leader(self, request: RevokeLeader) -> LeaderRevoked:
        """Let the next JobManager lead."""
        ...


class Order(msgspec.Struct, frozen=True):
    """A verdict with what it is about, when it was given (monotonic s), and for how long to block the host.

    `names` are TaskManagers, `leaders` JobManagers of the host, which may lead or not.
    """

    verdict: Verdict
    names: tuple[str, ...]
    given_s: float
    address: str = ""
    block_s: float = 0.0
    leaders: tuple[str, ...] = ()


class KeptOff(msgspec.Struct, frozen=True):
    """A host that gets no new work, retired or ill: its TaskManagers, its agent's address, why."""

    names: tuple[str, ...]
    address: str
    reason: str


class Realizer:
    """Tells Flink, in threads of its own."""

    def __init__(
        self,
        flink: ResourceManager,
        *,
        clock: Clock,
        tell: Tell,
        still_holds: Callable[[Order], bool],
        heard: Callable[[dict[str, FlinkHeard]], None],
    ) -> None:
        self._flink = flink
        self._clock = clock
        self._tell = tell
        self._still_holds = still_holds
        self._heard = heard
        self._orders: queue.Queue[Order | None] = queue.Queue(QUEUE_MAX)
        self._keep_open_s: float | None = None
        self._stopped = threading.Event()
        self._was_reachable = True
        self._nodes: dict[str, str] = {}
        self._exposed: tuple[str, ...] = ()
        self.eager = False
        self.spare_slots: int | None = None  # free ones that may get work; None before Flink was asked
        self._kept_off: dict[str, KeptOff] = {}
        self._kept_off_told: frozenset[str] = frozenset()
        self._renewed_s = 0.0
        self._threads = [
            threading.Thread(target=target, name=f"hawk-{name}", daemon=True)
            for name, target in (("realize", self._realize), ("poll", self._poll))
        ]

    def start(self) -> None:
        """Begin to tell verdicts and to ask Flink whom it hears."""
        for thread in self._threads:
            thread.start()

    def start_telling(self, *, keep_open_s: float) -> None:
        """Begin to tell verdicts only; Flink is asked once in `keep_open_s` so that the way to it stays open."""
        self._keep_open_s = keep_open_s
        self._threads[0].start()

    def stop(self) -> None:
        """End; what waits is dropped."""
        self._stopped.set()
        try:
            self._orders.put_nowait(None)
        except queue.Full:
            return  # the thread looks at the event before each order

    def order(self, order: Order) -> None:
        """Queue a verdict; never waits."""
        try:
            self._orders.put_nowait(order)
        except queue.Full:
            self._tell("verdict_dropped", host=order.verdict.host, reason="too many verdicts wait")

    def _realize(self) -> None:
        while not self._stopped.is_set():
            try:
                order = self._orders.get(timeout=self._keep_open_s)
            except queue.Empty:
                with contextlib.suppress(HeadraceError):  # it is away, and no verdict waits
                    self._flink.list_task_managers(ListTaskManagers())
                continue
            if order is not None:
                self.carry_out(order)

    def carry_out(self, order: Order) -> bool:
        """Tell Flink of one verdict, again and again while it holds and is young; returns whether it was told."""
        attempts = 0
        while not self._stopped.is_set():
            age_s = self._clock.monotonic_s() - order.given_s
            if age_s > GIVE_UP_S or (attempts and not self._still_holds(order)):
                reason = "too old" if age_s > GIVE_UP_S else "it no longer holds"
                self._tell("verdict_dropped", host=order.verdict.host, reason=reason, attempts=attempts)
                return False
            attempts += 1
            try:
                self._tell_flink(order, attempts)
            except HeadraceError as error:
                self._tell("verdict_not_told", host=order.verdict.host, reason=error.message, attempts=attempts)
                self._clock.sleep(RETRY_S)
                continue
            return True
        return False

    def _tell_flink(self, order: Order, attempts: int) -> None:
        verdict = order.verdict
        cause = f"Hawk: {verdict.failure}, host {verdict.host}, observers {', '.join(verdict.votes) or 'its agent'}"
        if order.leaders:
            self._revoke(order, cause)
        told = self._flink.disconnect(Disconnect(ids=order.names, cause=cause)) if order.names else _NOBODY
        elapsed_ms = round((self._clock.monotonic_s() - order.given_s) * 1000)
        self._tell(
            "verdict_told",
            host=verdict.host,
            names=[*order.names, *order.leaders],
            gone=list(told.gone),
            unknown=list(told.unknown),
            attempts=attempts,
            elapsed_ms=elapsed_ms,
        )
        if order.block_s > 0 and order.names:
            self._block(order, cause)

    def _revoke(self, order: Order, cause: str) -> None:
        hosts = (order.address, order.verdict.host) if order.address else (order.verdict.host,)
        revoked = self._flink.revoke_leader(RevokeLeader(hosts=hosts, cause=cause))
        elapsed_ms = round((self._clock.monotonic_s() - order.given_s) * 1000)
        self._tell(
            "leader_revoked",
            host=order.verdict.host,
            names=list(order.leaders),
            outcome=revoked.outcome,
            leader=revoked.leader,
            elapsed_ms=elapsed_ms,
        )

    def _block(self, order: Order, cause: str) -> None:
        """Flink knows a node by the address that its TaskManagers registered with; the agent's, when it has seen none."""
        nodes = sorted({self._nodes[name] for name in order.names if name in self._nodes}) or [order.address]
        until_ms = self._clock.now_ms() + round(order.block_s * 1000)
        blocks = tuple(NodeBlock(node=node, cause=cause, until_ms=until_ms) for node in nodes)
        self._flink.block_nodes(BlockNodes(blocks=blocks))
        self._tell("host_blocked", host=order.verdict.host, nodes=nodes, for_s=round(order.block_s))

    def keep_off(self, hosts: dict[str, KeptOff]) -> None:
        """From now on these hosts, and no others, get no new work: the polling thread keeps Flink's blocks of them alive."""
        self._kept_off = hosts

    def _renew_blocks(self) -> None:
        """Block these hosts for a while longer: a block ends by itself soon after a host is well or re-admitted, or we are gone."""
        hosts, now_s = self._kept_off, self._clock.monotonic_s()
        if hosts.keys() == self._kept_off_told and now_s - self._renewed_s < RENEW_S:
            return
        until_ms = self._clock.now_ms() + round(KEEP_OFF_S * 1000)
        blocks = []
        for host, kept in sorted(hosts.items()):
            nodes = sorted({self._nodes[name] for name in kept.names if name in self._nodes}) or [kept.address]
            cause = f"Hawk: host {host}, {kept.reason}"
            blocks += [NodeBlock(node=node, cause=cause, until_ms=until_ms) for node in nodes]
        if blocks:
            self._flink.block_nodes(BlockNodes(blocks=tuple(blocks)))
        self._kept_off_told, self._renewed_s = frozenset(hosts), now_s

    def _poll(self) -> None:
        while not self._stopped.wait(POLL_EAGER_S if self.eager else POLL_S):
            self.poll_once()

    def poll_once(self) -> None:
        """Ask Flink when it last heard whom."""
        try:
            rows = self._flink.list_task_managers(ListTaskManagers()).rows
        except HeadraceError as error:
            if self._was_reachable:
                self._tell("flink_unreachable", reason=error.message)
            self._was_reachable = False
            return
        if not self._was_reachable:
            self._tell("flink_reachable")
        self._was_reachable = True
        if len(self._nodes) > NODES_MAX:
            self._nodes.clear()
        self._nodes.update({row.id: row.node for row in rows})
        self._heard({row.id: FlinkHeard(row.last_heartbeat_ms, row.data_port) for row in rows})
        self.spare_slots = sum(row.free_slots for row in rows if not row.blocked)
        try:
            self._renew_blocks()
        except HeadraceError as error:
            self._tell("retired_not_blocked", names=sorted(self._kept_off), reason=error.message)
        exposed = find_exposed(rows)
        if exposed != self._exposed:
            # Not an error: a lost host's jobs go on when slots return, or smaller at once. But somebody should add hosts.
            self._exposed = exposed
            self._tell("spares_short" if exposed else "spares_enough", nodes=list(exposed))
