"""What the jobs of a host need from elsewhere (a broker, an object store): does it answer from here? Sources that hear nothing look like sources without news.

A dependency is asked every `dependency_check_s`, at all of its addresses at once; one answer of `PATIENCE_MS` is enough. `tcp://` is answered by whoever
accepts a connection, which a kernel does even for a process that stands still. `kafka://` asks for the broker's API versions (a request that every broker
takes before anything else, Kafka's protocol guide), and any byte is an answer. Two checks in a row without one, and it is told, until two have one again.

Nobody is convicted for it: a host that alone cannot reach a broker is for a person to look at, and when most cannot, it is the broker.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from headrace.core.errors import Invalid
from headrace.guard.hawk.addresses import parse_address

PATIENCE_MS = 2000
BAD_CHECKS = GOOD_CHECKS = 2
DEPENDENCIES_MAX = 4
NAME_BYTES_MAX = 16
ADDRESSES_MAX = 5
DOWN_SHARE = (
    0.5  # of the hosts that are heard, whether they need it or not: more, and it is the dependency and not the hosts
)
_API_VERSIONS = 18
_CLIENT = b"headrace-hawk"
_HEAD = struct.Struct(">hhih")


class Dependency(NamedTuple):
    """What is asked: by what name it is told, how (`tcp`, `kafka`), and where."""

    name: str
    kind: str
    addresses: tuple[tuple[str, int], ...]


class Reach(msgspec.Struct, frozen=True):
    """How many checks in a row went the other way than what is told, and what is told."""

    against: int = 0
    unreachable: bool = False


class DependencyWatch:
    """Asks all dependencies again and again, on somebody's selector."""

    def __init__(self, dependencies: Sequence[Dependency], selector: selectors.BaseSelector, *, every_s: int) -> None:
        self._dependencies = dependencies
        self._selector = selector
        self._every_ms = every_s * 1000  # longer than PATIENCE_MS, as the option sees to
        self._reach = {each.name: Reach() for each in dependencies}
        self._open: dict[socket.socket, Dependency] = {}
        self._waiting: set[str] = set()
        self._begun_ms: int | None = None

    @property
    def unreachable(self) -> tuple[str, ...]:
        """The dependencies that do not answer, sorted."""
        return tuple(sorted(name for name, reach in self._reach.items() if reach.unreachable))

    def turn(self, now_ms: int) -> None:
        """See to what is due; read what the selector has first, so that an answer which waited is not taken for none."""
        if not self._dependencies:
            return
        age_ms = self._every_ms if self._begun_ms is None else now_ms - self._begun_ms
        if self._waiting and age_ms >= PATIENCE_MS:
            for name in self._waiting:
                self._reach[name] = follow(self._reach[name], answered=False)
            self._waiting.clear()
            self._close_all()
        if age_ms >= self._every_ms:
            self._begun_ms = now_ms
            self._waiting = set(self._reach)
            for dependency in self._dependencies:
                for address in dependency.addresses:
                    self._ask(dependency, address)

    def close(self) -> None:
        """End all questions."""
        self._close_all()

    def _ask(self, dependency: Dependency, address: tuple[str, int]) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        if sock.connect_ex(address) not in (0, errno.EINPROGRESS):
            sock.close()
            return
        self._open[sock] = dependency
        self._selector.register(sock, selectors.EVENT_WRITE, self._on_connected)

    def _on_connected(self, sock: socket.socket) -> None:
        dependency = self._open.get(sock)
        if dependency is None:
            return
        try:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._end(sock)
            elif dependency.kind == "tcp":
                self._answered(dependency)
            else:
                sock.send(api_versions_request())
                self._selector.modify(sock, selectors.EVENT_READ, self._on_bytes)
        except OSError:
            self._end(sock)

    def _on_bytes(self, sock: socket.socket) -> None:
        dependency = self._open.get(sock)
        if dependency is None:
            return
        with contextlib.suppress(OSError):
            if sock.recv(1):
                self._answered(dependency)
                return
        self._end(sock)

    def _answered(self, dependency: Dependency) -> None:
        self._waiting.discard(dependency.name)
        self._reach[dependency.name] = follow(self._reach[dependency.name], answered=True)
        for sock in [sock for sock, each in self._open.items() if each is dependency]:
            self._end(sock)

    def _close_all(self) -> None:
        for sock in list(self._open):
            self._end(sock)

    def _end(self, sock: socket.socket) -> None:
        del self._open[sock]
        self._selector.unregister(sock)
        sock.close()


class UnreachableFrom:
    """An observer's part: which hosts cannot reach what, and what is down for most of those that are heard."""

    def __init__(self) -> None:
        self._hosts: dict[str, tuple[str, ...]] = {}
        self._down: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, float]:
        """Dependency → hosts that cannot reach it."""
        names = [name for each in self._hosts.values() for name in each]
        return {name: float(names.count(name)) for name in sorted(set(names))}

    def hear(self, host: str, names: tuple[str, ...]) -> bool:
        """What a host says; returns whether it is news."""
        if self._hosts.get(host, ()) == names:
            return False
        if names:
            self._hosts[host] = names
        else:
            self._hosts.pop(host, None)
        return True

    def turn(self, living: Callable[[], Collection[str]]) -> tuple[list[str], tuple[str, ...] | None]:
        """Hosts whose last word says nothing any more, since they are not heard; and what is down now, when that has changed."""
        if not self._hosts and not self._down:
            return [], None
        hosts = living()
        gone = [host for host in self._hosts if host not in hosts]
        for host in gone:
            del self._hosts[host]
        before, self._down = self._down, decide_down(self.counts, len(hosts))
        return gone, None if self._down == before else self._down


def follow(reach: Reach, *, answered: bool) -> Reach:
    """The reach after one more check."""
    if answered is not reach.unreachable:
        return Reach(0, reach.unreachable)
    against = reach.against + 1
    enough = GOOD_CHECKS if reach.unreachable else BAD_CHECKS
    return Reach(0, not reach.unreachable) if against >= enough else Reach(against, reach.unreachable)


def decide_down(counts: Mapping[str, float], hosts: int) -> tuple[str, ...]:
    """What more than `DOWN_SHARE` of the hosts cannot reach, sorted; of one host nothing can be concluded."""
    return tuple(sorted(name for name, count in counts.items() if hosts > 1 and count > DOWN_SHARE * hosts))


def api_versions_request() -> bytes:
    """Kafka's ApiVersions request, version 0: length, key, version, correlation id, client id."""
    body = _HEAD.pack(_API_VERSIONS, 0, 1, len(_CLIENT)) + _CLIENT
    return struct.pack(">i", len(body)) + body


def parse_dependency(text: str) -> Dependency:
    """`NAME=tcp://HOST:PORT` or `NAME=kafka://HOST:PORT[,HOST:PORT…]`.

    Raises:
        Invalid: not of that form, or an address that is not known.
    """
    name, _, url = text.partition("=")
    kind, separator, addresses = url.partition("://")
    if not name or not separator or kind not in ("tcp", "kafka"):
        raise Invalid(
            "dependency is not NAME=tcp://HOST:PORT or NAME=kafka://HOST:PORT",
            context={"dependency": text},
            hint="for instance kafka=kafka://10.0.0.9:9092",
        )
    if len(name.encode()) > NAME_BYTES_MAX:
        raise Invalid(
            "name of a dependency is too long",
            context={"name": name, "bytes_max": NAME_BYTES_MAX},
            hint="it is a label of events and metrics: kafka, s3",
        )
    found = tuple(parse_address(each.strip()) for each in addresses.split(","))
    if len(found) > ADDRESSES_MAX:
        raise Invalid(
            "dependency has too many addresses",
            context={"dependency": name, "addresses_max": ADDRESSES_MAX},
            hint="one that answers is enough: name a few brokers, not all",
        )
    return Dependency(name, kind, found)


def parse_dependencies(texts: Sequence[str]) -> tuple[Dependency, ...]:
    """All that an agent is started with.

    Raises:
        Invalid: one of them is, there are too many, or two have one name.
    """
    found = tuple(parse_dependency(text) for text in texts)
    if len(found) > DEPENDENCIES_MAX:
        raise Invalid(
            "too many dependencies",
            context={"given": len(found), "at_most": DEPENDENCIES_MAX},
            hint="name those without which no job of this host goes on",
        )
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise Invalid(
                "dependency is given twice",
                context={"name": name},
                hint="put all of its addresses into one, separated by commas",
            )
    return found
