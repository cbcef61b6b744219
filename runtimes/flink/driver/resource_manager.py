"""The way to the leading ResourceManager: what Hawk tells Flink.

It is Flink's own RPC with the fencing token that the high-availability services give (`high_availability`). `disconnectTaskManager` of the
ResourceManager, not of a JobMaster: it frees the slots, tells every job, and stops the worker on YARN and Kubernetes.

The connection is made at the first call and kept while its leader leads. A call that fails drops it and tries once more, and one that
waits for a leader which has been followed by another does not wait on. Classes used here are internal to Flink:
tests/cluster/test_hawk_flink.py and test_hawk_failover.py are the contract that each minor version has to pass.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError, Py4JNetworkError

from driver.high_availability import HighAvailability, Leader, host_of, java_name
from headrace.core.clock import Clock
from headrace.core.errors import Unavailable
from headrace.core.log import get_logger
from headrace.flink.protocol import (
    Disconnected,
    LeaderRevoked,
    NodeBlock,
    NodesBlocked,
    TaskManagerRow,
    TaskManagers,
)

log = get_logger("headrace.driver.resource_manager")
ANSWER_TIMEOUT_MS = 2500
SLICE_MS = 100  # of that: how soon the end of a leader is noticed by whoever waits for its answer
# A leader that shall be revoked has this long to show that it lives, if it has not been heard lately. One that answered within the
# last second is given the whole time of an answer: an observer votes for dead after 1.2 s of silence, so it is likely to be well.
PROBE_TIMEOUT_MS = 250
LATELY_S = 1.0
_GATEWAY = "org.apache.flink.runtime.resourcemanager.ResourceManagerGateway"

T = TypeVar("T")


class ResourceManagerLink:
    """Calls to the leading ResourceManager; may be shared by threads."""

    def __init__(self, view: Any, configuration: Path, clock: Clock) -> None:
        self._view = view
        self._clock = clock
        self._high_availability = HighAvailability(view, configuration)
        self._lock = threading.Lock()
        self._rpc: Any = None
        self._link: tuple[Leader, Any] | None = None
        self._known: set[str] = set()
        self._heard = ("", 0.0)  # the leader that answered last, and when (monotonic s)

    def list_task_managers(self) -> TaskManagers:
        """All registered TaskManagers.

        Raises:
            Unavailable: no leader, or it does not answer.
        """
        return self._try(self._list)

    def disconnect(self, ids: Sequence[str], cause: str) -> Disconnected:
        """Report TaskManagers as lost; returns when the ResourceManager has acted on it.

        Raises:
            Unavailable: no leader, or it does not answer; it may have acted.
        """

        def action(gateway: Any) -> Disconnected:
            known = set(self._known)
            for name in ids:
                error = self._view.org.apache.flink.util.FlinkException(cause)
                gateway.disconnectTaskManager(self._resource_id(name), error)
            # Messages of one sender keep their order: this answer comes after the others were worked off.
            left = {row.id for row in self._list(gateway).rows}
            gone = tuple(name for name in ids if name in known or name in left)
            return Disconnected(gone=gone, unknown=tuple(name for name in ids if name not in gone))

        done = self._try(action)
        log.info("task_managers_disconnected", gone=list(done.gone), unknown=list(done.unknown), cause=cause)
        return done

    def block_nodes(self, blocks: Sequence[NodeBlock]) -> NodesBlocked:
        """Add to the blocklist.

        Raises:
            Unavailable: no leader, or it does not answer.
        """

        def action(gateway: Any) -> NodesBlocked:
            nodes = self._view.java.util.ArrayList()
            for block in blocks:
                nodes.add(
                    self._view.org.apache.flink.runtime.blocklist.BlockedNode(block.node, block.cause, block.until_ms)
                )
            self._get(gateway.notifyNewBlockedNodes(nodes))
            return NodesBlocked(count=len(blocks))

        return self._try(action)

    def revoke_leader(self, hosts: Sequence[str], cause: str) -> LeaderRevoked:
        """Let the next JobManager lead, if the leader ran on a host that is lost and answers no more.

        Raises:
            Unavailable: not done: ZooKeeper cannot be reached, or the leader still answers.
        """
        revoked = self._high_availability.revoke(hosts, self._answers)
        log.info("leader_convicted", outcome=revoked.outcome, leader=revoked.leader, cause=cause)
        return revoked

    def _try(self, action: Callable[[Any], T]) -> T:
        for attempt in (1, 2):
            try:
                return action(self._connected())
            except Py4JNetworkError:
                raise  # the JVM is gone
            except Py4JJavaError as error:
                self._link = None
                reason = _reason(error)
                if attempt == 2:
                    raise Unavailable(
                        "resource manager does not answer",
                        operation="cluster.resource_manager",
                        context={"reason": reason},
                        hint="is a JobManager running? `headrace status`",
                    ) from error
                log.warning("resource_manager_lost", reason=reason)
        raise AssertionError("unreachable")

    def _list(self, gateway: Any) -> TaskManagers:
        link = self._link
        answer = self._get(gateway.requestTaskManagerInfo(self._duration(ANSWER_TIMEOUT_MS)))
        rows = tuple(_row(info) for info in answer)
        self._known = {row.id for row in rows}
        leader = link[0] if link else None
        self._heard = (leader.id if leader else "", self._clock.monotonic_s())
        return TaskManagers(
            rows=rows, leader=leader.id if leader else "", node=host_of(leader.address) if leader else ""
        )

    def _connected(self) -> Any:
        with self._lock:
            link = self._link
            if link is not None and self._high_availability.leads(link[0]):
                return link[1]
            self._link = None
            leader = self._high_availability.leader()
            gateway = self._get(self._connect(leader))
            self._link = leader, gateway
        log.info("resource_manager_connected", address=leader.address, leader=leader.id)
        return gateway

    def _answers(self, leader: Leader) -> bool:
        """Whether there is a ResourceManager at a leader's address: connecting asks the endpoint itself, not its kernel."""
        with self._lock:
            asked = self._connect(leader)
        heard, at_s = self._heard
        lately = heard == leader.id and self._clock.monotonic_s() - at_s < LATELY_S
        try:
            asked.get(
                ANSWER_TIMEOUT_MS if lately else PROBE_TIMEOUT_MS, self._view.java.util.concurrent.TimeUnit.MILLISECONDS
            )
        except Py4JJavaError as error:
            log.info("leader_silent", address=leader.address, reason=_reason(error))
            return False
        return True

    def _connect(self, leader: Leader) -> Any:
        """A future of the leader's gateway."""
        if self._rpc is None:
            self._start_rpc(leader.address)
        token = self._view.org.apache.flink.runtime.resourcemanager.ResourceManagerId.fromUuid(leader.token)
        return self._rpc.connect(leader.address, token, self._view.java.lang.Class.forName(_GATEWAY))

    def _start_rpc(self, leader_address: str) -> None:
        parts = urlsplit(leader_address.replace("pekko.", "", 1))
        own = own_address(parts.hostname or "127.0.0.1", parts.port or 1)
        services = self._high_availability
        self._rpc = self._view.org.apache.flink.runtime.rpc.RpcUtils.createRemoteRpcService(
            services.rpc_system, services.settings, own, "0", "0.0.0.0", self._view.java.util.Optional.empty()
        )

    def _resource_id(self, name: str) -> Any:
        return self._view.org.apache.flink.runtime.clusterframework.types.ResourceID(name)

    def _duration(self, ms: int) -> Any:
        return self._view.java.time.Duration.ofMillis(ms)

    def _get(self, future: Any) -> Any:
        """The answer of the leader, unless another leads meanwhile or its time is over."""
        link, slices = self._link, ANSWER_TIMEOUT_MS // SLICE_MS
        for left in reversed(range(slices)):
            try:
                return future.get(SLICE_MS, self._view.java.util.concurrent.TimeUnit.MILLISECONDS)
            except Py4JJavaError as error:
                waiting = java_name(error) == "java.util.concurrent.TimeoutException"
                followed = link is not None and not self._high_availability.leads(link[0])
                if not waiting or followed or not left:
                    raise
        raise AssertionError("unreachable")


def own_address(host: str, port: int) -> str:
    """The address of this machine as `host` sees it: the one that a packet to it would leave from."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, port))
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"


def _row(info: Any) -> TaskManagerRow:
    return TaskManagerRow(
        id=str(info.getResourceId().getResourceIdString()),
        node=host_of(str(info.getAddress())),
        last_heartbeat_ms=int(info.getLastHeartbeat()),
        slots=int(info.getNumberSlots()),
        free_slots=int(info.getNumberAvailableSlots()),
        blocked=bool(info.getBlocked()),
        data_port=max(0, int(info.getDataPort())),
    )


def _reason(error: Py4JJavaError) -> str:
    cause = error.java_exception
    deepest = cause
    for _ in range(16):
        if deepest.getCause() is None:
            break
        deepest = deepest.getCause()
    return str(deepest.toString()).splitlines()[0]
