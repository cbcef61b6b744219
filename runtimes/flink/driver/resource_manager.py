"""The way to the leading ResourceManager: what Hawk tells Flink.

It is Flink's own RPC with the fencing token that the high-availability services give (none, ZooKeeper, Kubernetes alike), from the cluster's own
config.yaml, so TLS and credentials are the cluster's, too. `disconnectTaskManager` of the ResourceManager, not of a JobMaster:
it frees the slots, tells every job, and stops the worker on YARN and Kubernetes.

The connection is made at the first call and kept. A call that fails drops it, looks the leader up again and tries once
more: after a JobManager's failover the token of the old leader is refused. Classes used here are internal to Flink:
tests/cluster/test_hawk_flink.py is the contract that each minor version has to pass.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError, Py4JNetworkError

from headrace.core.errors import Unavailable
from headrace.core.log import get_logger
from headrace.flink.protocol import Disconnected, NodeBlock, NodesBlocked, TaskManagerRow, TaskManagers

log = get_logger("headrace.driver.resource_manager")
ANSWER_TIMEOUT_MS = 2500
LEADER_TIMEOUT_MS = 2500
_GATEWAY = "org.apache.flink.runtime.resourcemanager.ResourceManagerGateway"

T = TypeVar("T")


class ResourceManagerLink:
    """Calls to the leading ResourceManager; may be shared by threads."""

    def __init__(self, view: Any, configuration: Path) -> None:
        self._view = view
        self._configuration = configuration
        self._lock = threading.Lock()
        self._rpc: Any = None
        self._high_availability: Any = None
        self._gateway: Any = None
        self._leader = ""
        self._known: set[str] = set()

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

    def _try(self, action: Callable[[Any], T]) -> T:
        with self._lock:
            for attempt in (1, 2):
                try:
                    return action(self._connected())
                except Py4JNetworkError:
                    raise  # the JVM is gone
                except Py4JJavaError as error:
                    self._gateway = None
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
        answer = self._get(gateway.requestTaskManagerInfo(self._duration(ANSWER_TIMEOUT_MS)))
        rows = tuple(_row(info) for info in answer)
        self._known = {row.id for row in rows}
        return TaskManagers(rows=rows, leader=self._leader)

    def _connected(self) -> Any:
        if self._gateway is not None:
            return self._gateway
        runtime = self._view.org.apache.flink.runtime
        if self._high_availability is None:
            self._prepare()
        leader = runtime.util.LeaderRetrievalUtils.retrieveLeaderInformation(
            self._high_availability.getResourceManagerLeaderRetriever(), self._duration(LEADER_TIMEOUT_MS)
        )
        address = str(leader.getLeaderAddress())
        if self._rpc is None:
            self._start_rpc(address)
        token = runtime.resourcemanager.ResourceManagerId.fromUuid(leader.getLeaderSessionID())
        kind = self._view.java.lang.Class.forName(_GATEWAY)
        self._gateway = self._get(self._rpc.connect(address, token, kind))
        self._leader = str(leader.getLeaderSessionID().toString())
        log.info("resource_manager_connected", address=address, leader=self._leader)
        return self._gateway

    def _prepare(self) -> None:
        runtime = self._view.org.apache.flink.runtime
        loader = self._view.org.apache.flink.configuration.GlobalConfiguration
        self._settings = loader.loadConfiguration(str(self._configuration))
        self._system = runtime.rpc.RpcSystem.load(self._settings)
        resolution = runtime.rpc.AddressResolution.NO_ADDRESS_RESOLUTION
        # A fatal error of the services is seen by the next call, which then fails: nobody need be told.
        self._high_availability = runtime.highavailability.HighAvailabilityServicesUtils.createHighAvailabilityServices(
            self._settings,
            self._view.java.util.concurrent.ForkJoinPool.commonPool(),
            resolution,
            self._system,
            None,
        )

    def _start_rpc(self, leader_address: str) -> None:
        parts = urlsplit(leader_address.replace("pekko.", "", 1))
        own = own_address(parts.hostname or "127.0.0.1", parts.port or 1)
        utils = self._view.org.apache.flink.runtime.rpc.RpcUtils
        self._rpc = utils.createRemoteRpcService(
            self._system, self._settings, own, "0", "0.0.0.0", self._view.java.util.Optional.empty()
        )

    def _resource_id(self, name: str) -> Any:
        return self._view.org.apache.flink.runtime.clusterframework.types.ResourceID(name)

    def _duration(self, ms: int) -> Any:
        return self._view.java.time.Duration.ofMillis(ms)

    def _get(self, future: Any) -> Any:
        return future.get(ANSWER_TIMEOUT_MS, self._view.java.util.concurrent.TimeUnit.MILLISECONDS)


def own_address(host: str, port: int) -> str:
    """The address of this machine as `host` sees it: the one that a packet to it would leave from."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, port))
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"


def _row(info: Any) -> TaskManagerRow:
    address = urlsplit(str(info.getAddress()).replace("pekko.", "", 1))
    return TaskManagerRow(
        id=str(info.getResourceId().getResourceIdString()),
        node=address.hostname or "",
        last_heartbeat_ms=int(info.getLastHeartbeat()),
        slots=int(info.getNumberSlots()),
        free_slots=int(info.getNumberAvailableSlots()),
        blocked=bool(info.getBlocked()),
    )


def _reason(error: Py4JJavaError) -> str:
    cause = error.java_exception
    deepest = cause
    for _ in range(16):
        if deepest.getCause() is None:
            break
        deepest = deepest.getCause()
    return str(deepest.toString()).splitlines()[0]
