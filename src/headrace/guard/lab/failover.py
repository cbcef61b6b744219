"""High availability for the lab: a ZooKeeper ensemble from Flink's own distribution, and JobManagers of which one leads.

`FlinkZooKeeperQuorumPeer` is inside flink-dist, so nothing else has to be installed. Each JobManager has a host of its own; what they
share is the folder of `high-availability.storageDir` and of the checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import msgspec

from headrace.core.home import Home
from headrace.guard.hawk.model import JOB_MANAGER_PREFIX
from headrace.stack import flinkhome
from headrace.stack.context import StackContext
from headrace.stack.probes import AliveProbe
from headrace.stack.specs import ProcessSpec, build_specs

ZOOKEEPER = "org.apache.flink.runtime.zookeeper.FlinkZooKeeperQuorumPeer"
CLIENT_PORT, PEER_PORT, ELECTION_PORT = 2181, 2888, 3888
JOB_HOSTS = ("j1", "j2")
TICK_MS = 2000  # ZooKeeper's default. Sessions last 2 to 20 ticks: of Flink's default of 60 s 40 are left
PEER_HEAP_MIB = 64
CLUSTER_ID = "/lab"
_OWN = re.compile(r"/jobmanager(?=\.log|\.warm|-warm-up)")  # files that two of them must not share
ARCHIVE_WRITING = "-XX:ArchiveClassesAtExit"


def high_availability(home: Home, peers: Mapping[int, str], *, client_port: int = CLIENT_PORT) -> dict[str, str]:
    """Flink's settings for an ensemble whose peers are number → address."""
    return {
        "high-availability.type": "zookeeper",
        "high-availability.zookeeper.quorum": ",".join(f"{address}:{client_port}" for address in peers.values()),
        "high-availability.cluster-id": CLUSTER_ID,
        "high-availability.storageDir": (home.data / "high-availability").as_uri(),
        # A host of the lab reaches no name server: each TaskManager's name would cost the JobMaster's main thread 10 s.
        "jobmanager.retrieve-taskmanager-hostname": "false",
    }


def zookeeper(
    context: StackContext, number: int, peers: Mapping[int, str], *, client_port: int = CLIENT_PORT, more: str = ""
) -> ProcessSpec:
    """One peer of the ensemble; writes its configuration. A single one runs alone.

    Args:
        context: the cluster.
        number: which of `peers`.
        peers: number → address.
        client_port: where clients connect, the same on all peers.
        more: further lines of its configuration.
    """
    name = f"zookeeper-{number}"
    folder = context.home.data / name
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"dataDir={folder}",
        f"clientPort={client_port}",
        f"clientPortAddress={peers[number]}",
        f"tickTime={TICK_MS}",
        "initLimit=20",
        "syncLimit=5",
        "maxClientCnxns=0",
        "admin.enableServer=false",
        *(f"server.{peer}={address}:{PEER_PORT}:{ELECTION_PORT}" for peer, address in peers.items()),
        more,
    ]
    path = folder / "zoo.cfg"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    java = (str(context.jdk.java), f"-Xmx{PEER_HEAP_MIB}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    log = f"-Dlog4j.configurationFile=file:{context.home.flink / 'conf' / 'log4j-console.properties'}"
    run = ("-cp", flinkhome.classpath(context), ZOOKEEPER, "--zkConfigFile", str(path), "--peerId", str(number))
    return ProcessSpec(name=name, argv=(*java, log, *run), probe=AliveProbe(), cwd=str(folder))


def job_manager_name(host: str) -> str:
    """Name of the process of the JobManager on a host."""
    return f"{JOB_MANAGER_PREFIX}-{host[1:]}"


def job_manager(context: StackContext, name: str, address: str) -> ProcessSpec:
    """A JobManager at an address of its own; the ports are the cluster's."""
    (spec,) = build_specs(context, ["jobmanager"])
    working = context.home.data / "flink" / name
    temporary = context.home.tmp / name
    own = {
        "jobmanager.rpc.address": address,
        "jobmanager.bind-host": address,
        "rest.address": address,
        "rest.bind-address": address,
        "high-availability.jobmanager.port": str(context.ports["flink-rpc"]),
        "process.working-dir": str(working),
        "blob.storage.directory": str(temporary / "blobs"),
        "web.tmpdir": str(temporary),
        "web.upload.dir": str(temporary),
        "io.tmp.dirs": str(temporary),
    }
    for folder in (working, temporary):
        Path(folder).mkdir(parents=True, exist_ok=True)
    words = [word for key, value in own.items() for word in ("-D", f"{key}={value}")]
    # Each writes an archive of its classes to a file of its own; that of one that has led is kept (`headrace.stack.archive`).
    argv = tuple(
        f"{part}.{name}" if part.startswith(ARCHIVE_WRITING) else _OWN.sub(f"/{name}", part) for part in spec.argv
    )
    environment = {**spec.env, "TMPDIR": str(temporary)}
    return msgspec.structs.replace(spec, name=name, argv=(*argv, *words), probe=AliveProbe(), env=environment)


class LivingTransport(httpx.BaseTransport):
    """Sends each request to whichever JobManager lives when it is sent; the host in its address does not matter."""

    def __init__(self, find: Callable[[], str]) -> None:
        self._find = find
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it there."""
        request.url = request.url.copy_with(host=self._find())
        return self._inner.handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()
