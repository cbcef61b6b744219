"""Bodies: compressed or not, cut, stalled, too large."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve.olap_body import Body
from headrace.serve.olap_errors import ClickHouseError


def _receive(pieces: list[bytes], *, cut: bool = False) -> Callable[[], Awaitable[MutableMapping[str, Any]]]:
    left = list(pieces)

    async def receive() -> MutableMapping[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or cut}
        return {"type": "http.disconnect"}

    return receive


def _read(pieces: list[bytes], encoding: str, *, limit: int = 10_000_000, step: int = 1000, cut: bool = False) -> bytes:
    async def run() -> bytes:
        body, whole = Body(_receive(pieces, cut=cut), encoding, bytes_max=limit), b""
        while not body.ended:
            whole += await body.read(step)
        return whole

    return asyncio.run(run())


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=5), st.sampled_from(["", "gzip", "deflate"]))
def test_what_was_sent_is_read(pieces: list[bytes], encoding: str) -> None:
    """However it is cut into pieces, also within the compressed stream."""
    plain = b"".join(pieces)
    packed = {"": plain, "gzip": gzip.compress(plain), "deflate": zlib.compress(plain)}[encoding]
    parts = [packed[i : i + 700] for i in range(0, len(packed), 700)] or [b""]
    assert _read(parts, encoding) == plain


def test_several_gzip_members() -> None:
    """Concatenated gzip files are one body."""
    assert _read([gzip.compress(b"a" * 10) + gzip.compress(b"b" * 5)], "gzip") == b"a" * 10 + b"b" * 5


def test_a_bomb_stops_at_the_limit() -> None:
    """A body that unfolds beyond the limit is refused on the way."""
    with pytest.raises(ClickHouseError) as caught:
        _read([gzip.compress(b"\0" * 50_000_000)], "gzip")
    assert (caught.value.code, caught.value.status) == (307, 413)


def test_large_compressed_body_is_whole() -> None:
    """Output that the inflater holds back because of its step is not lost."""
    plain = bytes(range(256)) * 20_000
    assert _read([gzip.compress(plain)], "gzip", step=1 << 20) == plain


@pytest.mark.parametrize("packed", [gzip.compress(b"x" * 5000)[:-4], gzip.compress(b"abc")[:5], b"no gzip at all"])
def test_cut_or_damaged_compression_is_refused(packed: bytes) -> None:
    """Never a short body taken for a whole one."""
    with pytest.raises(ClickHouseError) as caught:
        _read([packed], "gzip")
    assert (caught.value.code, caught.value.status) == (354, 400)


def test_a_client_that_goes_away_is_noticed() -> None:
    """A body without its end is no body."""
    with pytest.raises(ClickHouseError) as caught:
        _read([b"a"], "", cut=True)
    assert caught.value.code == 209


def test_unknown_encoding_is_refused() -> None:
    """It says which are known."""
    with pytest.raises(ClickHouseError, match="gzip or deflate"):
        _read([b"a"], "br")
