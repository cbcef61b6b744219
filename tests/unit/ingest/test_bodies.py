"""Bodies: gzip within limits, and which notation they are in."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.ingest import reasons
from headrace.ingest.bodies import BadBody, inflate, is_json


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=3))
def test_gzip_of_one_or_more_members(parts: list[bytes]) -> None:
    """What was compressed comes back."""
    assert inflate(b"".join(map(gzip.compress, parts)), bytes_max=1000) == b"".join(parts)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_every_truncation_is_noticed(body: bytes, data: st.DataObject) -> None:
    """A compressed body that ends early, wherever, is never taken for a whole one."""
    packed = gzip.compress(body)
    cut = packed[: data.draw(st.integers(1, len(packed) - 1))]
    with pytest.raises(BadBody) as caught:
        inflate(cut, bytes_max=1000)
    assert caught.value.reason == reasons.TRUNCATED_GZIP


def test_a_bomb_is_stopped_at_the_limit() -> None:
    """Decompression ends at the limit, also when members add up."""
    assert inflate(gzip.compress(b"x" * 1000), bytes_max=1000) == b"x" * 1000
    for bomb in (gzip.compress(b"x" * 50_000_000), gzip.compress(b"x" * 600) * 2):
        with pytest.raises(BadBody) as caught:
            inflate(bomb, bytes_max=1000)
        assert caught.value.reason == reasons.BODY_TOO_LARGE


def test_what_is_no_gzip() -> None:
    """A body that only claims to be compressed is named so, also after a good member."""
    for body in (b"e=ps", gzip.compress(b"x") + b"garbage"):
        with pytest.raises(BadBody) as caught:
            inflate(body, bytes_max=1000)
        assert caught.value.reason == reasons.BAD_GZIP


def test_notation() -> None:
    """The content type decides; without one that we know, the first character does."""
    assert not is_json("application/cmcd", b'{"a":1}')
    assert is_json("application/x-ndjson; charset=utf-8", b"")
    assert is_json("text/plain", b' {"a":1}')
    assert not is_json("", b"e=ps")
