"""Ask the kernel of another host, not its processes: a refused TCP connection or an echo reply needs no running process.

TCP: a connect to a port that nobody listens on is answered by the kernel with a reset; a connect that succeeds says the
same. The kernel here checks that the reset belongs to the connection's random sequence number, so that nobody off the path
can forge it. ICMP: an echo with a random payload, where the system lets us send one. Errors that routers or our own kernel
make up (no route, no neighbour) are no answers.

A process is asked by a connection to a port of its own that we close for writing at once: the kernel accepts and acknowledges that
without it, but only the process closes its side. Nothing is sent, so that there is nothing that it could misunderstand.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import selectors
import socket
import struct
from collections.abc import Callable

Answered = Callable[[str], None]
Outstanding = tuple[str, int]  # (name, since when)
Log = Callable[..., None]
OUTSTANDING_MAX = 512  # connects under way: 25 hosts at 20 probes a second for one second; the brake holds beyond
PATIENCE_MS = 1000
TOKEN_BYTES = 16
_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_ICMP = struct.Struct(">BBHHH")


class Prober:
    """Sends probes and reports answers, on somebody's selector."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        answered: Answered,
        *,
        port: int,
        process_answered: Answered = lambda _: None,
    ) -> None:
        self._selector = selector
        self._answered = answered
        self._process_answered = process_answered
        self._port = port
        self._connects: dict[socket.socket, Outstanding] = {}
        self._asked: dict[socket.socket, Outstanding] = {}
        self._token = secrets.token_bytes(TOKEN_BYTES)
        self._echoes: dict[str, str] = {}  # IP address → name
        self._icmp, self._raw = _icmp_socket()
        self._sequence = 0
        if self._icmp is not None:
            selector.register(self._icmp, selectors.EVENT_READ, self._on_icmp)

    def probe(self, name: str, address: str, now_ms: int) -> None:
        """Ask the kernel at `address`; an answer is reported with `name`."""
        self._echo(name, address)
        if len(self._connects) >= OUTSTANDING_MAX:
            return
        sock = _new_socket()
        code = sock.connect_ex((address, self._port))
        if code in (0, errno.ECONNREFUSED):
            sock.close()
            self._answered(name)
        elif code == errno.EINPROGRESS:
            self._connects[sock] = (name, now_ms)
            self._selector.register(sock, selectors.EVENT_WRITE, self._on_connect)
        else:
            sock.close()

    def ask(self, name: str, address: str, port: int, now_ms: int) -> None:
        """Ask the process that listens there; that it closes the connection is reported with `name`."""
        if len(self._asked) >= OUTSTANDING_MAX:
            return
        sock = _new_socket()
        if sock.connect_ex((address, port)) in (0, errno.EINPROGRESS):
            self._asked[sock] = (name, now_ms)
            self._selector.register(sock, selectors.EVENT_WRITE, self._on_accepted)
        else:
            sock.close()

    def expire(self, now_ms: int) -> None:
        """Give up on connects that nobody answered, and on connections that nobody closed."""
        for waiting in (self._connects, self._asked):
            for sock, (_, since_ms) in list(waiting.items()):
                if now_ms - since_ms < PATIENCE_MS:
                    break
                self._end(sock, waiting)

    def close(self) -> None:
        """End all probes."""
        for waiting in (self._connects, self._asked):
            for sock in list(waiting):
                self._end(sock, waiting)
        if self._icmp is not None:
            self._selector.unregister(self._icmp)
            self._icmp.close()

    def _on_connect(self, sock: socket.socket) -> None:
        if sock not in self._connects:
            return
        name, _ = self._connects[sock]
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._end(sock, self._connects)
        if code in (0, errno.ECONNREFUSED):
            self._answered(name)

    def _on_accepted(self, sock: socket.socket) -> None:
        """The kernel has accepted; close our side and wait for the other."""
        if sock not in self._asked:
            return
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:  # refused: no process listens there
            self._end(sock, self._asked)
        else:
            self._selector.modify(sock, selectors.EVENT_READ, self._on_closed)

    def _on_closed(self, sock: socket.socket) -> None:
        if sock not in self._asked:
            return
        name, _ = self._asked[sock]
        try:
            sock.recv(1)  # whatever it says before it closes: it runs
        except BlockingIOError:
            return
        except OSError:  # a reset comes from a kernel, too
            self._end(sock, self._asked)
            return
        self._end(sock, self._asked)
        self._process_answered(name)

    def _end(self, sock: socket.socket, waiting: dict[socket.socket, Outstanding]) -> None:
        del waiting[sock]
        self._selector.unregister(sock)
        sock.close()

    def _echo(self, name: str, address: str) -> None:
        if self._icmp is None:
            return
        self._echoes[address] = name
        self._sequence = (self._sequence + 1) & 0xFFFF
        with contextlib.suppress(OSError):
            self._icmp.sendto(echo_request(self._sequence, self._token), (address, 0))

    def _on_icmp(self, sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, (address, *_) = sock.recvfrom(2048)
                if is_echo_reply(data, self._token, raw=self._raw) and address in self._echoes:
                    self._answered(self._echoes[address])


def _new_socket() -> socket.socket:
    """A connection that somebody accepts is ended by a reset: nothing is left behind on either side."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return sock


def echo_request(sequence: int, token: bytes) -> bytes:
    """An ICMP echo request; the identifier is 0, which a datagram socket replaces."""
    head = _ICMP.pack(_ECHO_REQUEST, 0, 0, 0, sequence)
    return _ICMP.pack(_ECHO_REQUEST, 0, checksum(head + token), 0, sequence) + token


def is_echo_reply(data: bytes, token: bytes, *, raw: bool) -> bool:
    """Whether a packet answers one of our requests; raw sockets also give the IP header."""
    start = (data[0] & 0x0F) * 4 if raw and data else 0
    return len(data) >= start + _ICMP.size and data[start] == _ECHO_REPLY and data[start + _ICMP.size :] == token


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _icmp_socket() -> tuple[socket.socket | None, bool]:
    """A socket for echoes, and whether it is a raw one; None where the system allows neither."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        with contextlib.suppress(OSError):
            sock = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
            sock.setblocking(False)
            return sock, kind == socket.SOCK_RAW
    return None, False
