"""The table of CDNs and the files of a home that it comes from."""

import os
from pathlib import Path

import pytest

from headrace.core.errors import Invalid
from headrace.core.log import get_logger
from headrace.serve.cdns import Cdn, DimFile, default_weights, parse_cdns

HEAD = "cdn,hosts,capacity_sessions,price,floor\n"
GOOD = HEAD + "B,b.example,300,1.5,0.02\nA,a1.example|a2.example,100,1,0.01\n"


def test_rows_come_sorted_with_hosts_and_numbers() -> None:
    """Hosts are separated by a bar; rows are sorted by name."""
    assert parse_cdns(GOOD, "cdn.csv") == (
        Cdn("A", ("a1.example", "a2.example"), 100, 1, 0.01),
        Cdn("B", ("b.example",), 300, 1.5, 0.02),
    )


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "cdn.csv:1", "lacks columns"),
        ("cdn,hosts\nA,x\n", "cdn.csv:1", "capacity_sessions, price, floor"),
        (HEAD, "cdn.csv", "it names 0"),
        (HEAD + "A,x,many,1,0.02\n", "cdn.csv:2", "not a number"),
        (HEAD + "A,x,100,1,0.02\nB,x,nan,1,0\n", "cdn.csv:3", "not a number"),
        (HEAD + "A,x,100,1\n", "cdn.csv:2", "not a number"),
        (HEAD + "A,x,0,1,0.02\n", "cdn.csv:2", "out of range"),
        (HEAD + "A,x,10,1,1.5\n", "cdn.csv:2", "out of range"),
        (HEAD + ",x,10,1,0\n", "cdn.csv:2", "without a name"),
        (HEAD + "A,x,10,1,0\nA,y,10,1,0\n", "cdn.csv:3", "named twice"),
        (HEAD + "A,x,10,1,0.5\nB,y,10,1,0.5\n", "cdn.csv", "floors add up"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(text: str, place: str, words: str) -> None:
    """The error names file and line, says what is wrong, and hints at what to write."""
    with pytest.raises(Invalid) as caught:
        parse_cdns(text, "cdn.csv")
    assert words in str(caught.value)
    assert str(caught.value.place).startswith(place)
    assert caught.value.hint


def test_default_weights_follow_capacity() -> None:
    """Nobody decided yet: a CDN of three times the capacity gets three times the share."""
    assert default_weights(parse_cdns(GOOD, "cdn.csv")) == {"A": 0.25, "B": 0.75}


def test_a_dim_file_keeps_its_last_good_content(tmp_path: Path) -> None:
    """Missing → default; good → read; broken → last good and the error; repaired → read again."""
    path = tmp_path / "cdn.csv"
    dim = DimFile(path, parse_cdns, default=(), log=get_logger("test"))
    assert not dim.refresh()
    assert dim.value == ()
    path.write_text(GOOD)
    assert dim.refresh()
    assert len(dim.value) == 2
    path.write_text("broken")
    assert not dim.refresh()
    assert dim.error is not None
    assert len(dim.value) == 2
    path.write_bytes(b"\xff\xfe")
    os.utime(path, (1, 1))
    assert not dim.refresh()
    path.write_text(GOOD + "C,c.example,50,1,0\n")
    assert dim.refresh()
    assert dim.error is None
    assert len(dim.value) == 3
