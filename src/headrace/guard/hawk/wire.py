"""Hawk's datagrams: fixed head, MessagePack body, message authentication code.

    offset  size  field
    0       2     "HK"
    2       1     version
    3       1     kind
    4       1     n = length of the name
    5       n     name of a host (agent's datagrams and their answers) or of an observer (ballots), UTF-8
    5 + n   8     boot: incarnation of the sender; in answers, of the agent that is answered; big-endian
    13 + n  8     number: grows with each datagram of an incarnation; in answers, the number that is answered; big-endian
    21 + n  …     body: MessagePack array, by kind
    end-16  16    first half of HMAC-SHA256 over all before, with the host's key or the observers' (`keys`)

The kind is under the code, so that an answer cannot be turned round as a question. Nothing is decoded before the code is
right. What may be replayed is decided by `members` and `observer_core`: numbers only grow within an incarnation, and a new incarnation has to
echo a cookie or nonce that changes with each. A datagram is at most DATAGRAM_BYTES_MAX long, which one Ethernet frame carries.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import TypeVar

import msgspec

from headrace.core.errors import Invalid
from headrace.guard.hawk.model import FailureClass, HostReport, View

DATAGRAM_BYTES_MAX = 1400  # 1,500 of Ethernet - 28 of IP and UDP, with room for a tunnel's head
NAME_BYTES_MAX = 64
PROCESSES_MAX = 13  # 13 x (64 + 17) bytes are 1,053, below the limit with head, code, gray classes and dependencies
BALLOT_HOSTS_MAX = (
    14  # 14 x (64 + 10) bytes are 1,036; more silent hosts are counted and named when these are convicted
)
CONVICTIONS_MAX = 2  # told a few times each, newest last
NONCE_BYTES = 8
MAC_BYTES = 16
VERSION = 1
_MAGIC = b"HK"
_HEAD = struct.Struct(">2sBBB")
_NUMBERS = struct.Struct(">QQ")
_BYTES_MIN = _HEAD.size + 1 + _NUMBERS.size + MAC_BYTES

T = TypeVar("T")


class Kind(IntEnum):
    """What a datagram is."""

    JOIN = 1
    HEARTBEAT = 2
    CHALLENGE = 3
    ACK = 4
    REFUSE = 5
    BALLOT = 6


class Join(msgspec.Struct, frozen=True, array_like=True):
    """Body of JOIN: the cookie of the last challenge, empty in the first one."""

    cookie: bytes
    report: HostReport


class Heartbeat(msgspec.Struct, frozen=True, array_like=True):
    """Body of HEARTBEAT."""

    report: HostReport


class Challenge(msgspec.Struct, frozen=True, array_like=True):
    """Body of CHALLENGE."""

    cookie: bytes


class Ack(msgspec.Struct, frozen=True, array_like=True):
    """Body of ACK: whether a verdict stands against the host."""

    convicted: bool


class Refuse(msgspec.Struct, frozen=True, array_like=True):
    """Body of REFUSE: another agent of this name beats."""


class Conviction(msgspec.Struct, frozen=True, array_like=True):
    """A verdict on a whole host that the sender has given or heard of; `boot` is the incarnation that was convicted."""

    host: str
    boot: int
    failure: FailureClass


class BallotBody(msgspec.Struct, frozen=True, array_like=True):
    """Body of BALLOT: `nonce` is the sender's for the receiver, `echo` the receiver's as last heard; a new incarnation needs the right one."""

    nonce: bytes
    echo: bytes
    views: dict[str, View]
    silent: int
    hosts: int
    convicted: tuple[Conviction, ...] = ()  # at most CONVICTIONS_MAX


BODIES: dict[Kind, type] = {
    Kind.JOIN: Join,
    Kind.HEARTBEAT: Heartbeat,
    Kind.CHALLENGE: Challenge,
    Kind.ACK: Ack,
    Kind.REFUSE: Refuse,
    Kind.BALLOT: BallotBody,
}
_ENCODER = msgspec.msgpack.Encoder()
_DECODERS: dict[Kind, msgspec.msgpack.Decoder[object]] = {
    kind: msgspec.msgpack.Decoder(body) for kind, body in BODIES.items()
}


class Datagram(msgspec.Struct, frozen=True):
    """A datagram whose code was right."""

    kind: Kind
    name: str
    boot: int
    number: int
    body: object

    def as_(self, kind: type[T]) -> T:
        """The body, as the type that belongs to its kind."""
        if not isinstance(self.body, kind):
            raise Invalid("datagram has another body", context={"kind": self.kind.name})
        return self.body


class Rejected(Exception):
    """Why a datagram was thrown away; a word for a counter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check_name(name: str) -> str:
    """The name of a host or observer, if it fits a datagram.

    Raises:
        Invalid: empty or too long.
    """
    if 0 < len(name.encode()) <= NAME_BYTES_MAX:
        return name
    raise Invalid(
        "name is empty or too long",
        context={"name": name, "bytes_max": NAME_BYTES_MAX},
        hint="use the host's short name",
    )


def encode(datagram: Datagram, key: bytes) -> bytes:
    """The bytes of a datagram.

    Raises:
        Invalid: it is too long; reports and ballots have limits of their own that keep them below.
    """
    name = datagram.name.encode()
    head = _HEAD.pack(_MAGIC, VERSION, datagram.kind, len(name)) + name
    data = head + _NUMBERS.pack(datagram.boot, datagram.number) + _ENCODER.encode(datagram.body)
    if len(data) + MAC_BYTES > DATAGRAM_BYTES_MAX:
        raise Invalid("datagram is too long", context={"bytes": len(data), "kind": datagram.kind.name})
    return data + hmac.digest(key, data, "sha256")[:MAC_BYTES]


def decode(data: bytes, find_key: Callable[[Kind, str], bytes | None]) -> Datagram:
    """Check and decode a datagram.

    Args:
        data: as received; read with a buffer of DATAGRAM_BYTES_MAX + 1, so that longer ones are seen to be.
        find_key: the key by kind and name; None for what the receiver does not take.

    Raises:
        Rejected: `size`, `format`, `kind`, `code` or `body`.
    """
    if not _BYTES_MIN <= len(data) <= DATAGRAM_BYTES_MAX:
        raise Rejected("size")
    magic, version, number, length = _HEAD.unpack_from(data)
    body_at = _HEAD.size + length + _NUMBERS.size
    if magic != _MAGIC or version != VERSION or not 0 < length <= NAME_BYTES_MAX or body_at + MAC_BYTES > len(data):
        raise Rejected("format")
    try:
        kind = Kind(number)
        name = data[_HEAD.size : _HEAD.size + length].decode()
    except ValueError:
        raise Rejected("format") from None
    key = find_key(kind, name)
    if key is None:
        raise Rejected("kind")
    signed = memoryview(data)[:-MAC_BYTES]
    if not hmac.compare_digest(hmac.digest(key, signed, "sha256")[:MAC_BYTES], data[-MAC_BYTES:]):
        raise Rejected("code")
    boot, count = _NUMBERS.unpack_from(data, _HEAD.size + length)
    try:
        body = _DECODERS[kind].decode(signed[body_at:])
    except msgspec.MsgspecError:
        raise Rejected("body") from None
    return Datagram(kind, name, boot, count, body)
