"""Readiness checks: a process is ready when it answers as its clients will ask it, not when its port opens.

A probe is data; `is_ready` asks once, with a short time-out, and never raises for a process that does not answer yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from pathlib import Path

import msgspec

TIMEOUT_S = 2.0
PAUSE_S = 0.5
BODY_LIMIT = 1 << 18  # bytes; a list of 16 TaskManagers has about 20 kB
_METADATA, _METADATA_VERSION = 3, 1  # smallest request that tells whether a broker is registered and unfenced


class HttpProbe(msgspec.Struct, frozen=True, tag="http"):
    """`GET path` answers 200, with `contains` in its body.

    `settle_s` is for an answer that another process gives: the JobManager lists a dead TaskManager until two heartbeats are
    refused, so an answer before that may be about the predecessor of the same name.
    """

    port: int
    path: str = "/healthz"
    contains: str = ""
    settle_s: float = 0.0


class RedisProbe(msgspec.Struct, frozen=True, tag="redis"):
    """`PING` answers `+PONG`; a server that still loads its file answers `-LOADING`."""

    port: int


class KafkaProbe(msgspec.Struct, frozen=True, tag="kafka"):
    """A metadata request answers with at least one live broker."""

    port: int


class SocketProbe(msgspec.Struct, frozen=True, tag="socket"):
    """A Unix socket accepts."""

    path: str


class AliveProbe(msgspec.Struct, frozen=True, tag="alive"):
    """No way to ask: ready once the process has lived for `seconds`."""

    seconds: float = 1.0


Probe = HttpProbe | RedisProbe | KafkaProbe | SocketProbe | AliveProbe


async def is_ready(probe: Probe, *, alive_s: float) -> bool:
    """Ask once.

    Args:
        probe: what to ask.
        alive_s: how long the process has been alive.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            match probe:
                case HttpProbe():
                    return alive_s >= probe.settle_s and await _http_ok(probe)
                case RedisProbe(port):
                    return (await _ask(port, b"PING\r\n", 7)).startswith(b"+PONG")
                case KafkaProbe(port):
                    return await _kafka_brokers(port) > 0
                case SocketProbe(path):
                    _, writer = await asyncio.open_unix_connection(path)
                    writer.close()
                    return True
                case AliveProbe(seconds):
                    return alive_s >= seconds
    except (OSError, TimeoutError, asyncio.IncompleteReadError, struct.error):
        return False


def probe_files(probe: Probe) -> list[Path]:
    """Files that a killed process leaves behind and that must go before the next start."""
    return [Path(probe.path)] if isinstance(probe, SocketProbe) else []


async def _ask(port: int, request: bytes, size: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read(size)
    finally:
        writer.close()


async def _http_ok(probe: HttpProbe) -> bool:
    request = f"GET {probe.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", probe.port)
    try:
        writer.write(request)
        status = await reader.readline()
        if status.split(b" ")[1:2] != [b"200"]:
            return False
        return not probe.contains or probe.contains.encode() in await _read_to_end(reader)
    finally:
        writer.close()


async def _read_to_end(reader: asyncio.StreamReader) -> bytes:
    """The rest of an answer, up to `BODY_LIMIT`; ends at the connection's end or when nothing more comes for a moment."""
    body = b""
    with contextlib.suppress(TimeoutError):
        while len(body) < BODY_LIMIT:
            chunk = await asyncio.wait_for(reader.read(BODY_LIMIT), PAUSE_S)
            if not chunk:
                break
            body += chunk
    return body


async def _kafka_brokers(port: int) -> int:
    """Number of brokers in a metadata answer: size, correlation id, then the array's length, all big-endian int32."""
    client = b"headrace"
    body = struct.pack(">hhih", _METADATA, _METADATA_VERSION, 1, len(client)) + client + struct.pack(">i", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(struct.pack(">i", len(body)) + body)
        answer = await reader.readexactly(12)
        return int(struct.unpack(">iii", answer)[2])
    finally:
        writer.close()
