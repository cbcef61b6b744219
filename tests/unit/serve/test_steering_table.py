"""What the steering endpoint answers from when its sources come and go."""

from pathlib import Path

import pytest

from headrace.core.log import get_logger
from headrace.serve.decisions import Cell, SteerRecord
from headrace.serve.steering_table import SteeringTable, cells_of

NORTH = Cell("north", "unicom")
PREFIXES = "prefix,region,isp\n10.16.0.0/14,north,unicom\n10.32.0.0/14,east,telecom\n"
CDNS = "cdn,hosts,capacity_sessions,price,floor\nA,a,300,1,0.02\nB,b,100,1,0.02\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home's data folder with the two dims."""
    (tmp_path / "dims").mkdir()
    (tmp_path / "dims" / "ip_prefix.csv").write_text(PREFIXES)
    (tmp_path / "dims" / "cdn.csv").write_text(CDNS)
    return tmp_path


def _table(home: Path) -> SteeringTable:
    table = SteeringTable(home / "dims", home / "steering" / "last.json", log=get_logger("test"))
    table.refresh_dims()
    return table


def _record(ts_ms: int = 1_000, ttl_s: float = 2.0) -> SteerRecord:
    return SteerRecord(version=1, ts_ms=ts_ms, weights={"A": 0.02, "B": 0.98}, ttl_s=ttl_s)


def test_undecided_cells_are_answered_by_capacity(home: Path) -> None:
    """Known address, no decision: weights in proportion to capacity; unknown address: the same."""
    table = _table(home)
    assert table.locate("10.17.1.1") == NORTH
    for address in ("10.17.1.1", "192.168.0.1", "", "nonsense"):
        answer = table.answer(table.locate(address))
        assert (answer.weights, answer.source) == ({"A": 0.75, "B": 0.25}, "default")


def test_without_dims_there_is_still_an_answer(tmp_path: Path) -> None:
    """No dims at all: two CDNs by their usual names."""
    assert set(_table(tmp_path).answer(NORTH).weights) == {"A", "B"}


def test_a_decision_is_served_and_kept(home: Path) -> None:
    """What was read once is served while Redis says nothing; after half a minute with the TTL of calm."""
    table = _table(home)
    table.update({NORTH: _record()}, now_ms=1_500)
    assert table.answer(NORTH).weights == {"A": 0.02, "B": 0.98}
    assert table.answer(NORTH).ttl_s == 2.0
    table.update({}, now_ms=500_000)
    assert table.answer(NORTH).weights == {"A": 0.02, "B": 0.98}
    assert (table.answer(NORTH).source, table.answer(NORTH).ttl_s) == ("stale", 10.0)


def test_a_restart_goes_on_with_what_was_saved(home: Path) -> None:
    """A new process without Redis answers what the old one knew."""
    table = _table(home)
    table.update({NORTH: _record()}, now_ms=1_500)
    table.save(now_s=0.0)
    again = _table(home)
    again.load(now_ms=1_600)
    assert again.answer(NORTH).weights == {"A": 0.02, "B": 0.98}


def test_saving_is_bounded_in_rate_and_survives_a_bad_folder(home: Path) -> None:
    """At most one write per interval; a folder that cannot be made is logged, not raised."""
    table = _table(home)
    last = home / "steering" / "last.json"
    table.update({NORTH: _record(1)}, now_ms=1)
    table.save(now_s=0.0)
    first = last.read_bytes()
    table.update({NORTH: _record(2)}, now_ms=2)
    table.save(now_s=1.0)
    assert last.read_bytes() == first
    table.save(now_s=3.0)
    assert last.read_bytes() != first
    blocked = SteeringTable(home / "dims", home / "dims" / "cdn.csv" / "last.json", log=get_logger("test"))
    blocked.update({NORTH: _record()}, now_ms=1)
    blocked.save(now_s=0.0)


@pytest.mark.parametrize("raw", [b"", b"{", b'{"version":1}', b"\x00\xff"])
def test_a_damaged_last_file_is_ignored(home: Path, raw: bytes) -> None:
    """The process starts with defaults."""
    (home / "steering").mkdir()
    (home / "steering" / "last.json").write_bytes(raw)
    table = _table(home)
    table.load(now_ms=1)
    assert table.answer(NORTH).source == "default"


def test_cells_are_those_of_the_prefix_table_and_unknown() -> None:
    """Only cells that a client can be in are read from Redis."""
    assert cells_of(PREFIXES) == (Cell("east", "telecom"), NORTH, Cell("unknown", "unknown"))
