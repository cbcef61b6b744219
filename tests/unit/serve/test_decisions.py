"""Steering records as they stand in Redis."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import Corrupt
from headrace.serve.decisions import Cell, SteerRecord, decode_record, encode_record, steer_key

RECORD = SteerRecord(version=3, ts_ms=1, weights={"A": 0.7, "B": 0.3}, ttl_s=2.0, reason="r", last_input_ts_ms=5)


def test_a_record_survives_the_way_through_redis() -> None:
    """What is written is read again, state included."""
    record = msgspec.structs.replace(RECORD, state=msgspec.Raw(b'{"x":1}'))
    again = decode_record(encode_record(record), key="k")
    assert again.weights == record.weights
    assert bytes(again.state) == b'{"x":1}'


def test_the_key_is_part_of_the_interface() -> None:
    """Others read it by name."""
    assert steer_key(Cell("north", "unicom")) == "steer:north:unicom"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"version":1,"ts_ms":1,"weights":{},"ttl_s":2}',
        b'{"version":1,"ts_ms":1,"weights":{"A":0.5},"ttl_s":2}',
        b'{"version":1,"ts_ms":1,"weights":{"A":1.5,"B":-0.5},"ttl_s":2}',
        b'{"version":1,"ts_ms":1,"weights":{"A":"x"},"ttl_s":2}',
        b'{"version":1,"ts_ms":1,"weights":{"A":1},"ttl_s":0}',
        b'{"version":1,"ts_ms":1,"weights":{"A":null},"ttl_s":2}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_record_is_corrupt_and_names_its_key(raw: bytes) -> None:
    """Nothing that is no distribution over CDNs gets through."""
    with pytest.raises(Corrupt) as caught:
        decode_record(raw, key="steer:x:y")
    assert caught.value.context["key"] == "steer:x:y"
    assert caught.value.hint


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_corrupt(raw: bytes) -> None:
    """No other error, whatever stands there."""
    try:
        record = decode_record(raw, key="k")
    except Corrupt:
        return
    assert abs(sum(record.weights.values()) - 1) < 0.01
