"""A request's body as a bounded stream: decompressed as it arrives, counted, with a time-out on each piece.

gzip and deflate are inflated at most `_INFLATE_STEP` bytes at a time, so that a small body cannot unfold into a large one in memory;
the whole may not exceed `bytes_max`. A body that ends within a compressed stream is an error, never a short INSERT.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from headrace.serve import olap_errors
from headrace.serve.olap_errors import refuse

PIECE_TIMEOUT_S = 30.0  # a sender that stalls longer than this loses its request
_INFLATE_STEP = 1_048_576
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class Body:
    """Read a body piece by piece; `ended` tells whether all of it was read.

    Args:
        receive: ASGI's.
        encoding: the Content-Encoding header, empty when there is none.
        bytes_max: the largest size after decompression.

    Raises:
        ClickHouseError: an encoding we do not know (code 89).
    """

    def __init__(
        self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]], encoding: str, *, bytes_max: int
    ) -> None:
        self._receive = receive
        self._bytes_max = bytes_max
        self._bits = _WINDOW_BITS.get(encoding.strip().lower(), 0)
        if encoding.strip().lower() not in ("", "identity", *_WINDOW_BITS):
            raise refuse(
                olap_errors.UNKNOWN_COMPRESSION, f"unknown Content-Encoding {encoding}", hint="use gzip or deflate"
            )
        self._inflater = zlib.decompressobj(self._bits) if self._bits else None
        self._compressed = b""
        self._inside = False  # the inflater holds back output because of the step's limit
        self._all_received = False
        self._buffer = bytearray()
        self._total = 0

    @property
    def ended(self) -> bool:
        """Whether nothing is left to read."""
        return self._drained and not self._buffer

    @property
    def _drained(self) -> bool:
        return self._all_received and not self._compressed and not self._inside

    async def peek(self, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end; what is returned counts as read."""
        return await self.read(size)

    async def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end.

        Raises:
            ClickHouseError: damaged compression (354), too large (307), or the sender stalled or went away (209).
        """
        while len(self._buffer) < size and not self._drained:
            self._take(await self._next())
        piece = bytes(self._buffer[:size])
        del self._buffer[:size]
        return piece

    async def gone(self) -> None:
        """Return when the client has gone; call only after the body has ended."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _next(self) -> bytes:
        if self._compressed or self._inside:
            return b""
        try:
            message = await asyncio.wait_for(self._receive(), PIECE_TIMEOUT_S)
        except TimeoutError as error:
            raise refuse(olap_errors.SOCKET_TIMEOUT, f"no data for {PIECE_TIMEOUT_S:g} s within the body") from error
        if message["type"] == "http.disconnect":
            raise refuse(olap_errors.SOCKET_TIMEOUT, "the client went away within the body")
        self._all_received = not message.get("more_body", False)
        data: bytes = message.get("body", b"")
        return data

    def _take(self, data: bytes) -> None:
        if self._inflater is not None:
            data = self._inflate(data)
        self._total += len(data)
        if self._total > self._bytes_max:
            raise refuse(
                olap_errors.TOO_MANY_BYTES, f"body is larger than {self._bytes_max} bytes", hint="send smaller batches"
            )
        self._buffer += data

    def _inflate(self, data: bytes) -> bytes:
        assert self._inflater is not None
        if self._inflater.eof and (data or self._compressed):
            self._inflater = zlib.decompressobj(self._bits)
        try:
            plain = self._inflater.decompress(self._compressed + data, _INFLATE_STEP)
        except zlib.error as error:
            raise refuse(olap_errors.CANNOT_INFLATE, f"body is not valid compressed data: {error}") from error
        self._compressed = self._inflater.unconsumed_tail or self._inflater.unused_data
        self._inside = len(plain) == _INFLATE_STEP and not self._inflater.eof
        if self._drained and not self._inflater.eof:
            raise refuse(olap_errors.CANNOT_INFLATE, "compressed body ends too early", hint="the upload was cut")
        return plain
