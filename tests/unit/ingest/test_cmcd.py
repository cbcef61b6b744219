"""The reference parser of one CMCD line."""

import pytest

from headrace.ingest.cmcd import LineError, Member, is_custom_key, parse_line


@pytest.mark.parametrize(
    ("line", "members"),
    [
        ("bl=(1200),e=ps,ts=5", {"bl": [1200], "e": "ps", "ts": 5}),
        ("bl=(1200;v 3000;a=1),e=rr", {"bl": [1200, 3000], "e": "rr"}),
        ('cid="a,b \\"q\\" \\\\",su,bs=?0', {"cid": 'a,b "q" \\', "su": True, "bs": False}),
        ("ttlb=9.75,pr=-1", {"ttlb": 9.75, "pr": -1}),
        ("sn=1 , \tsn=2", {"sn": 2}),
        ("ec=()", {"ec": []}),
        ('cid="zimmer-ü"', {"cid": "zimmer-ü"}),
        ("url=https://a/b:80", {"url": "https://a/b:80"}),
        ("ts=123456789012345", {"ts": 123456789012345}),
    ],
)
def test_members(line: str, members: dict[str, Member]) -> None:
    """Structured fields are read as RFC 8941 says; a key given twice keeps its last value, parameters are dropped."""
    assert parse_line(line) == members


@pytest.mark.parametrize(
    "line",
    [
        "",
        "=",
        "E=1",
        "e=",
        "e=ps,",
        "e=ps ts=5",
        'sid="x',
        'sid="\\x"',
        "bl=(1",
        "bl=(1,2)",
        "ts=1234567890123456",
        "a=1.2345",
        "a=@1",
        "a=1;",
        "a=1.",
        'sid="\x07"',
        "a=٣",
        "{}",
    ],
)
def test_what_is_no_dictionary(line: str) -> None:
    """Anything else is an error that says where."""
    with pytest.raises(LineError, match="at character"):
        parse_line(line)


def test_custom_keys_have_a_hyphen_inside() -> None:
    """A hyphen at either end, or none, is no custom key."""
    assert is_custom_key("com.headrace-age")
    assert not any(map(is_custom_key, ("age", "-age", "age-", "Com.x-y")))
