"""Who leads a Flink cluster, by Flink's own high-availability services; and the revocation of a dead leader.

One path for all modes: `HighAvailabilityServicesUtils` reads `high-availability.type` (NONE, zookeeper, kubernetes) from the
cluster's own config.yaml, so quorum, TLS and credentials are the cluster's, too. Flink's `LeaderRetriever` listens, so a change
of the leader is known here as soon as Flink's clients know it, without asking. (Kubernetes is this same path; there was no
such cluster to run it on.)

Only ZooKeeper needs a revocation and allows it (`latch`). With NONE there is no other JobManager; a lease on Kubernetes ends by itself.
Services that report a fatal error are closed, and made anew by the next call.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError

from driver.latch import Lead, Seat, decide_removal
from headrace.core.errors import Unavailable
from headrace.core.log import get_logger
from headrace.flink.protocol import LeaderRevoked, Revocation

log = get_logger("headrace.driver.high_availability")
LEADER_TIMEOUT_MS = 2500
# Our own connection to ZooKeeper gives up soon: Flink's defaults (15 s, three times) are longer than a call may take.
OWN_CONNECTION = {
    "high-availability.zookeeper.client.connection-timeout": "2 s",
    "high-availability.zookeeper.client.retry-wait": "200 ms",
    "high-availability.zookeeper.client.max-retry-attempts": "1",
}


class Leader(NamedTuple):
    """The leading ResourceManager: RPC address, fencing token (a Java UUID) and the token as text."""

    address: str
    token: Any
    id: str


class HighAvailability:
    """Flink's services of one cluster; may be shared by threads."""

    def __init__(self, view: Any, configuration: Path) -> None:
        self._view = view
        self._configuration = configuration
        self._lock = threading.Lock()
        self._started = False
        self._settings: Any = None
        self._rpc_system: Any = None
        self._services: Any = None
        self._retrieval: Any = None
        self._listener: Any = None
        self._fatal: Any = None
        self._zookeeper: Any = None

    @property
    def settings(self) -> Any:
        """The cluster's configuration (Java); after the first `leader`."""
        return self._settings

    @property
    def rpc_system(self) -> Any:
        """Flink's RPC system (Java); after the first `leader`."""
        return self._rpc_system

    def leader(self) -> Leader:
        """Who leads now; waits a while when nobody does.

        Raises:
            Unavailable: nobody leads.
            Py4JJavaError: the services failed; they are made anew by the next call.
        """
        try:
            found = (
                self._running()
                .getLeaderFuture()
                .get(LEADER_TIMEOUT_MS, self._view.java.util.concurrent.TimeUnit.MILLISECONDS)
            )
        except Py4JJavaError as error:
            if java_name(error) == "java.util.concurrent.TimeoutException":
                raise Unavailable(
                    "no JobManager leads the cluster",
                    operation="cluster.leader",
                    hint="is a JobManager running, and ZooKeeper if there is one?",
                ) from error
            self.close()
            raise
        return Leader(str(found.getField(0)), found.getField(1), str(found.getField(1).toString()))

    def leads(self, leader: Leader) -> bool:
        """Whether nobody else is known to lead; costs no call to another machine."""
        listener = self._listener
        if listener is None:
            return False
        future = listener.getLeaderFuture()
        if not future.isDone() or future.isCompletedExceptionally():
            return True  # whoever led is not known to have been followed by another
        return str(future.join().getField(1).toString()) == leader.id

    def close(self) -> None:
        """Close the services; nothing of the cluster's own is removed."""
        with self._lock:
            if not self._started:
                return
            self._started, self._listener = False, None
            for part in (
                self._retrieval.stop,
                self._services.close,
                *([self._zookeeper.close] if self._zookeeper else ()),
            ):
                try:
                    part()
                except Py4JJavaError as error:
                    log.warning("close_failed", reason=java_name(error))
            self._zookeeper = None

    def revoke(self, hosts: Sequence[str], answers: Any) -> LeaderRevoked:
        """Take the lead from a JobManager on a host that is lost, so that the next one leads at once.

        Args:
            hosts: the lost host's addresses and names.
            answers: called with the `Leader` in question; whether it still answers.

        Raises:
            Unavailable: nothing was done; ZooKeeper cannot be reached, or the leader still answers.
        """
        self._running()
        mode = self._view.org.apache.flink.runtime.jobmanager.HighAvailabilityMode.fromConfig(self._settings)
        if str(mode.toString()) != "ZOOKEEPER":
            return LeaderRevoked(outcome=Revocation.UNSUPPORTED)
        try:
            return self._revoke(hosts, answers)
        except Py4JJavaError as error:
            raise Unavailable(
                "zookeeper does not answer", operation="cluster.leader", context={"reason": java_name(error)}
            ) from error

    # --- ZooKeeper ---

    def _revoke(self, hosts: Sequence[str], answers: Any) -> LeaderRevoked:
        client = self._client()
        lead = self._read_lead(client, hosts, answers)
        removal = decide_removal(lead, self._read_seats(client), hosts)
        address = lead.address if lead else ""
        if removal.outcome is Revocation.ANSWERS:
            raise Unavailable(
                "the convicted leader still answers", operation="cluster.leader", context={"leader": address}
            )
        for path in removal.paths:
            try:
                client.delete().forPath(path)
            except Py4JJavaError as error:
                if not java_name(error).endswith("$NoNodeException"):
                    raise
        log.warning("leader_revoked", outcome=removal.outcome, leader=address, nodes=list(removal.paths))
        return LeaderRevoked(outcome=removal.outcome, leader=address, nodes=removal.paths)

    def _client(self) -> Any:
        """A Curator client in the folder of the cluster's leaders."""
        utils = self._view.org.apache.flink.runtime.util.ZooKeeperUtils
        client = self._zookeeper.asCuratorFramework()
        if not client.getZookeeperClient().isConnected():
            raise Unavailable("zookeeper cannot be reached", operation="cluster.leader")
        return utils.useNamespaceAndEnsurePath(client, utils.getLeaderPath())

    def _read_lead(self, client: Any, hosts: Sequence[str], answers: Any) -> Lead | None:
        utils = self._view.org.apache.flink.runtime.util.ZooKeeperUtils
        stat = self._view.org.apache.flink.shaded.zookeeper3.org.apache.zookeeper.data.Stat()
        path = utils.generateConnectionInformationPath(utils.getResourceManagerNode())
        try:
            content = client.getData().storingStatIn(stat).forPath(path)
        except Py4JJavaError as error:
            if java_name(error).endswith("$NoNodeException"):
                return None
            raise
        if not content:
            return None
        information = utils.readLeaderInformation(content)
        if information.isEmpty():
            return None
        address, token = str(information.getLeaderAddress()), information.getLeaderSessionID()
        named = frozenset(names_of(host_of(address)))
        # Only a leader that would be removed is asked: the answer of a dead one takes its whole time-out.
        answered = bool(named & frozenset(hosts)) and answers(Leader(address, token, str(token.toString())))
        return Lead(address, named, int(stat.getEphemeralOwner()), answered)

    def _read_seats(self, client: Any) -> list[Seat]:
        latch = str(self._view.org.apache.flink.runtime.util.ZooKeeperUtils.getLeaderLatchPath())
        seats = []
        for name in client.getChildren().forPath(latch):
            path = f"{latch}/{name}"
            stat = client.checkExists().forPath(path)
            if stat is not None:
                seats.append(Seat(path, int(stat.getEphemeralOwner())))
        return seats

    # --- life ---

    def _running(self) -> Any:
        with self._lock:
            failed = self._started and bool(self._fatal.isCompletedExceptionally())
        if failed:
            log.warning("services_failed")
            self.close()
        with self._lock:
            if not self._started:
                self._start()
                self._started = True
            return self._listener

    def _start(self) -> None:
        flink = self._view.org.apache.flink
        if self._settings is None:
            self._settings = flink.configuration.GlobalConfiguration.loadConfiguration(str(self._configuration))
            self._rpc_system = flink.runtime.rpc.RpcSystem.load(self._settings)
        self._fatal = self._view.java.util.concurrent.CompletableFuture()
        handler = self._fatal_error_handler()
        self._services = flink.runtime.highavailability.HighAvailabilityServicesUtils.createHighAvailabilityServices(
            self._settings,
            self._view.java.util.concurrent.ForkJoinPool.commonPool(),
            flink.runtime.rpc.AddressResolution.NO_ADDRESS_RESOLUTION,
            self._rpc_system,
            handler,
        )
        self._retrieval = self._services.getResourceManagerLeaderRetriever()
        self._listener = flink.runtime.webmonitor.retriever.LeaderRetriever()
        self._retrieval.start(self._listener)
        if flink.runtime.util.ZooKeeperUtils.isZooKeeperRecoveryMode(self._settings):
            # Connected beforehand: a revocation must not begin with a handshake.
            own = self._settings.clone()
            for key, value in OWN_CONNECTION.items():
                own.setString(key, value)
            self._zookeeper = flink.runtime.util.ZooKeeperUtils.startCuratorFramework(own, handler)

    def _fatal_error_handler(self) -> Any:
        """A `FatalErrorHandler` that fails `_fatal`: Java makes it from a method, so that no call comes back to Python."""
        invoke = self._view.java.lang.invoke
        kind = self._view.java.lang.Class.forName
        taking = invoke.MethodType.methodType(self._view.java.lang.Boolean.TYPE, kind("java.lang.Throwable"))
        method = invoke.MethodHandles.publicLookup().findVirtual(
            kind("java.util.concurrent.CompletableFuture"), "completeExceptionally", taking
        )
        interface = kind("org.apache.flink.runtime.rpc.FatalErrorHandler")
        return invoke.MethodHandleProxies.asInterfaceInstance(interface, method.bindTo(self._fatal))


def host_of(address: str) -> str:
    """The host in an RPC address such as `pekko.tcp://flink@10.0.0.1:6123/user/rpc/resourcemanager_0`; empty when there is none."""
    return urlsplit(address.replace("pekko.", "", 1)).hostname or ""


def names_of(host: str) -> set[str]:
    """A host as it is called, and the addresses that this name has."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            return {host, *(str(found[4][0]) for found in socket.getaddrinfo(host, None))}
        except OSError:
            pass
    return {host}


def java_name(error: Py4JJavaError) -> str:
    """The class of the Java exception."""
    return str(error.java_exception.getClass().getName())
