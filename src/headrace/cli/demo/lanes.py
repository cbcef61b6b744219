"""Keep-alive HTTP/1.1 lanes for the replay: thousands of small requests a second from one process.

A lane is one connection that carries one request at a time; a pool hands out free lanes and opens no more than its limit.
A general client costs about 1 ms of CPU a request here, which two cores do not have to spare next to Kafka and Flink; this
speaks only what our own gateway and steering service answer (a status line, Content-Length or chunked body).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

from headrace.core.errors import Unavailable

REQUEST_TIMEOUT_S = 10.0


class LanePool:
    """At most `size` connections to one server."""

    def __init__(self, url: str, *, size: int) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._slots = asyncio.Semaphore(size)
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def request(
        self, method: str, target: str, *, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, bytes]:
        """Send one request; returns status and body.

        Raises:
            Unavailable: no connection, a time-out or an answer that breaks off.
        """
        head = [f"{method} {target} HTTP/1.1", f"Host: {self._host}:{self._port}", f"Content-Length: {len(body)}"]
        head += [f"{key}: {value}" for key, value in headers.items()]
        async with self._slots:
            try:
                return await asyncio.wait_for(
                    self._exchange("\r\n".join(head).encode() + b"\r\n\r\n" + body), REQUEST_TIMEOUT_S
                )
            except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
                raise Unavailable(
                    f"request failed: {type(error).__name__}",
                    context={"server": f"{self._host}:{self._port}", "target": target.split("?")[0]},
                ) from error

    async def _exchange(self, data: bytes) -> tuple[int, bytes]:
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(data)
            status, body, keep = await _read_answer(reader)
        except BaseException:
            writer.close()
            raise
        if keep:
            self._free.append((reader, writer))
        else:
            writer.close()
        return status, body

    async def close(self) -> None:
        """Close the idle connections."""
        for _, writer in self._free:
            writer.close()
        self._free.clear()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.split("\r\n")
    status = int(lines[0].split(" ", 2)[1])
    fields = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:] if line)}
    if fields.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(fields.get("content-length", "0")))
    return status, body, fields.get("connection", "").lower() != "close"
