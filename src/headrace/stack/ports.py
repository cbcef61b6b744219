"""The ports of one stack, chosen once and kept.

Jobs carry Kafka's address in their state, so a stack must come back on the same ports: they are stored in
`<home>/data/ports.json`. A new home gets a block of consecutive ports in 24000-31999, below Linux' ephemeral range
(32768); the block is derived from the home's path, so that two stacks rarely meet, and blocks with a taken port are skipped.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import psutil

from headrace.core.errors import Unavailable

PORT_NAMES = ("kafka", "kafka-controller", "redis", "flink", "flink-rpc", "olap", "headraced", "gateway", "steering")
POOL_START, POOL_END, BLOCK = 24_000, 32_000, 16
BLOCKS = (POOL_END - POOL_START) // BLOCK
HOST = "127.0.0.1"

IsFree = Callable[[int], bool]


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True


def plan_ports(home: Path, *, base: int, free: IsFree) -> dict[str, int]:
    """Choose a port per name: the block at `base`, or the first wholly free block from the one the path hashes to.

    Raises:
        Unavailable: a port of the asked block is taken, or no block is free.
    """
    if base:
        ports = _block(base)
        taken = [port for port in ports.values() if not free(port)]
        if taken:
            raise Unavailable(
                "port is already taken",
                context={"port": taken[0], "used_by": owner_of(taken[0])},
                hint="choose another `headrace.stack.port-base`, or 0 to let the stack choose",
            )
        return ports
    first = int.from_bytes(hashlib.sha256(str(home).encode()).digest()[:4], "big") % BLOCKS
    for step in range(BLOCKS):
        ports = _block(POOL_START + (first + step) % BLOCKS * BLOCK)
        if all(free(port) for port in ports.values()):
            return ports
    raise Unavailable("no free block of ports", context={"from": POOL_START, "to": POOL_END}, hint="stop other stacks")


def load_ports(path: Path) -> dict[str, int]:
    """The stored ports, empty when there are none or the file is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except (OSError, msgspec.MsgspecError):
        return {}


def load_or_plan_ports(path: Path, home: Path, *, base: int, free: IsFree = is_free) -> dict[str, int]:
    """The stored ports of this home, or new ones, stored."""
    stored = load_ports(path)
    if set(PORT_NAMES) <= set(stored):
        return stored
    ports = plan_ports(home, base=base, free=free)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(ports)))
    return ports


def check_ports(ports: dict[str, int], *, path: Path, names: Iterable[str], free: IsFree = is_free) -> None:
    """Refuse to start on ports that somebody else holds.

    Raises:
        Unavailable: names the first taken port, what it is for and who holds it.
    """
    for name in names:
        port = ports[name]
        if not free(port):
            raise Unavailable(
                f"port of {name} is already taken",
                context={"port": port, "used_by": owner_of(port)},
                hint=f"stop that process, or remove {path} to let the stack choose new ports (jobs must then be deployed again)",
            )


def owner_of(port: int) -> str:
    """Who listens on `port`, as `name (pid)`, or `another process` when the system does not say."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.pid and getattr(connection.laddr, "port", 0) == port:
                return f"{psutil.Process(connection.pid).name()} ({connection.pid})"
    except (psutil.Error, OSError):
        return "another process"
    return "another process"


def _block(base: int) -> dict[str, int]:
    return {name: base + offset for offset, name in enumerate(PORT_NAMES)}
