"""Delay and jitter without tc netem: `python -m headrace.guard.lab.delay --queue N --delay-ms D --jitter-ms J`, inside a host's namespace.

Iptables hands packets to a queue (NFQUEUE); this process learns their numbers, lets each wait for its time, and then tells the kernel to accept it. It
sees no packet's content. With jitter packets overtake each other, as on a real network. While nobody listens, or the queue is full, packets pass at once.

The messages are nfnetlink_queue's (linux/netfilter/nfnetlink_queue.h); numbers on the wire are big-endian but for netlink's own headers.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import select
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Sequence

from headrace.core.clock import Clock, SystemClock
from headrace.core.errors import Unsupported
from headrace.core.rand import Random, seeded

NETLINK_NETFILTER = 12
SUBSYSTEM = 3 << 8
PACKET, VERDICT, CONFIG = 0, 1, 2
REQUEST, ACKNOWLEDGE, ERROR = 1, 4, 2
CONFIG_COMMAND, CONFIG_PARAMS, CONFIG_LENGTH, CONFIG_MASK, CONFIG_FLAGS = 1, 2, 3, 4, 5
BIND, COPY_META, FAIL_OPEN, KEEP_LARGE = 1, 1, 1, 4
PACKET_HEADER, VERDICT_HEADER = 1, 2
ACCEPT = 1
LENGTH_MAX = 20_000  # packets that wait: 10,000 a second for two seconds
RECEIVE_BYTES, BUFFER_BYTES = 1 << 16, 8 << 20
SEED = 8
TRIAL_QUEUE = 65_000


class Waiting:
    """Packets that wait, each for a time of its own; pure but for the randomness it is given."""

    def __init__(self, delay_ms: float, jitter_ms: float, random: Random) -> None:
        self._delay_s, self._jitter_s = delay_ms / 1000, jitter_ms / 1000
        self._random = random
        self._heap: list[tuple[float, int]] = []

    def add(self, packet: int, now_s: float) -> None:
        """One more: due after the delay, give or take the jitter."""
        spread_s = (2 * self._random.random() - 1) * self._jitter_s
        heapq.heappush(self._heap, (now_s + max(0.0, self._delay_s + spread_s), packet))

    def due(self, now_s: float) -> list[int]:
        """Those whose time has come, in the order in which it came; they wait no longer."""
        found = []
        while self._heap and self._heap[0][0] <= now_s:
            found.append(heapq.heappop(self._heap)[1])
        return found

    def next_in_s(self, now_s: float) -> float | None:
        """When the next one is due; None while none waits."""
        return max(0.0, self._heap[0][0] - now_s) if self._heap else None


def attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, queue: int, *attributes: bytes, flags: int = REQUEST) -> bytes:
    """A message of nfnetlink_queue."""
    body = struct.pack("!BBH", socket.AF_UNSPEC, 0, queue) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), SUBSYSTEM | kind, flags, 0, 0) + body


def verdict(queue: int, packet: int) -> bytes:
    """Let a packet pass."""
    return message(VERDICT, queue, attribute(VERDICT_HEADER, struct.pack("!II", ACCEPT, packet)))


def read_messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each netlink message in a datagram; what is cut short ends it."""
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if length < 16 or length > len(data):
            return
        yield kind, data[16:length]
        data = data[(length + 3) & ~3 :]


def read_packet(body: bytes) -> int | None:
    """The number of a queued packet; None when the message carries none."""
    rest = body[4:]
    while len(rest) >= 4:
        length, kind = struct.unpack_from("=HH", rest)
        if length < 4:
            return None
        if kind & 0x3FFF == PACKET_HEADER and length >= 8:
            return int(struct.unpack_from("!I", rest, 4)[0])
        rest = rest[(length + 3) & ~3 :]
    return None


def open_queue(queue: int) -> socket.socket:
    """Listen to a queue of this network namespace.

    Raises:
        Unsupported: the kernel has no such queues, somebody else listens, or this is not root.
    """
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    sock.bind((0, 0))
    parts = (
        attribute(CONFIG_COMMAND, struct.pack("!BBH", BIND, 0, 0)),
        attribute(CONFIG_PARAMS, struct.pack("!IB", 0, COPY_META)),
        attribute(CONFIG_LENGTH, struct.pack("!I", LENGTH_MAX)),
        attribute(CONFIG_FLAGS, struct.pack("!I", FAIL_OPEN | KEEP_LARGE))
        + attribute(CONFIG_MASK, struct.pack("!I", FAIL_OPEN | KEEP_LARGE)),
    )
    for part in parts:
        sock.send(message(CONFIG, queue, part, flags=REQUEST | ACKNOWLEDGE))
        for kind, body in read_messages(sock.recv(RECEIVE_BYTES)):
            code = struct.unpack_from("=i", body)[0] if kind == ERROR else 0
            if code:
                sock.close()
                raise Unsupported("packets cannot be queued here", context={"errno": -code, "queue": queue})
    return sock


def serve(sock: socket.socket, queue: int, waiting: Waiting, clock: Clock) -> None:
    """Take packets and let them go in their time, until interrupted."""
    while True:
        for packet in waiting.due(clock.monotonic_s()):
            with contextlib.suppress(OSError):  # its connection may be gone
                sock.send(verdict(queue, packet))
        if select.select([sock], [], [], waiting.next_in_s(clock.monotonic_s()))[0]:
            with contextlib.suppress(OSError):  # ENOBUFS: more came than the socket holds; those passed at once
                _take(sock.recv(RECEIVE_BYTES), waiting, clock.monotonic_s())


def _take(data: bytes, waiting: Waiting, now_s: float) -> None:
    for kind, body in read_messages(data):
        packet = read_packet(body) if kind == SUBSYSTEM | PACKET else None
        if packet is not None:
            waiting.add(packet, now_s)


def missing() -> str:
    """Why packets cannot be delayed here, or nothing."""
    try:
        open_queue(TRIAL_QUEUE).close()
    except (Unsupported, OSError) as error:
        return f"needs root and NFQUEUE in the kernel ({error})".partition("\n")[0]
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the process; prints one line when it listens."""
    parser = argparse.ArgumentParser(prog="delay", description="Delay the packets of a queue.")
    parser.add_argument("--queue", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, required=True)
    parser.add_argument("--jitter-ms", type=float, default=0)
    chosen = parser.parse_args(arguments)

    def stop(number: int, _: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    try:
        sock = open_queue(chosen.queue)
    except (Unsupported, OSError) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    serve(sock, chosen.queue, Waiting(chosen.delay_ms, chosen.jitter_ms, seeded(SEED)), SystemClock())
    return 0


if __name__ == "__main__":
    sys.exit(main())
