"""From bodies to rows: the fast paths against the reference parser, and what is said about rows that are not taken."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.core.errors import Invalid
from headrace.core.schema import Column, Table
from headrace.ingest import reasons
from headrace.ingest.cmcd import STANDARD_KEYS, STRING_KEYS, STRING_LIST_KEYS
from headrace.ingest.streams import Stream
from headrace.testing.beacons import cmcd_raw_table

STREAM = Stream(cmcd_raw_table())
DDL = Path(__file__).parents[3] / "apps/live-quality/tables/cmcd_raw.sql"
GOOD = b'bl=(0),br=(1720),cid="room1",e=rr,sf=h,sid="s0",sn=5,sta=s,ts=1795364251956,url="http://10.77.0.2/v0_00695.ts",v=2'


def as_dict(row: Any) -> dict[str, Any]:
    """A row as it is encoded."""
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(row))
    return decoded


def test_the_table_of_tests_is_the_table_of_the_app() -> None:
    """`cmcd_raw_table` has the columns of the app's declaration, in order, with type and nullability."""
    declared = re.findall(r"(?:^\s+|, )([a-z_]+)\s+(STRING|BIGINT|INT)\b( NOT NULL)?", DDL.read_text(), re.MULTILINE)
    expected = [(column.name, column.type, not column.nullable) for column in cmcd_raw_table().columns]
    assert [(name, kind, bool(required)) for name, kind, required in declared] == expected


def test_a_real_report_becomes_a_row() -> None:
    """Keys are mapped to columns, lists to their first item, keys without a column are passed over."""
    parsed = STREAM.parse_cmcd(GOOD, line_bytes_max=8192)
    assert parsed.problems == []
    assert as_dict(parsed.rows[0]) == {
        "bl": 0, "br": 1720, "cid": "room1", "e": "rr", "sid": "s0", "sn": 5, "sta": "s",
        "ts_ms": 1795364251956, "url": "http://10.77.0.2/v0_00695.ts", "v": 2,
    }  # fmt: skip


def test_in_flight_beacon_of_our_shim() -> None:
    """The custom keys of the player shim fill `age_ms` and `cdn`, and go before the standard `cdn`."""
    line = b'cdn="B",cen="inflight",com.headrace-age=1234,com.headrace-cdn="A",e=ce,sid="s",ts=5'
    (row,) = STREAM.parse_cmcd(line, line_bytes_max=8192).rows
    assert (row.age_ms, row.cdn, row.cen) == (1234, "A", "inflight")
    (row,) = STREAM.parse_cmcd(b'cdn="B",e=ce,sid="s",ts=5', line_bytes_max=8192).rows
    assert as_dict(row) == {"cdn": "B", "e": "ce", "sid": "s", "ts_ms": 5}


def _text_values() -> st.SearchStrategy[str]:
    return st.text(st.characters(codec="utf-8", exclude_characters='\x7f"\\', min_codepoint=0x20), max_size=12).map(
        lambda text: f'"{text}"'
    )


_TOKENS = st.from_regex(r"[A-Za-z*][!#$%&'*+.^_`|~:/A-Za-z0-9-]{0,5}", fullmatch=True)
_NUMBERS = st.one_of(
    st.integers(0, 10**15 - 1).map(str),
    st.integers(-(10**6), 10**6).map(str),
    st.decimals(0, 10**6, places=2).map(str),
    st.sampled_from(["007", "0", "2147483647", "2147483648", "null", "true"]),
)


def _value(key: str) -> st.SearchStrategy[str]:
    usual = _text_values() if key in STRING_KEYS else st.one_of(_TOKENS, _NUMBERS, _NUMBERS.map(lambda n: f"({n})"))
    if key in STRING_LIST_KEYS:
        usual = _text_values().map(lambda text: f"({text})")
    odd = st.sampled_from(['"x\\"y"', "?1", "(1;v 2;a)", "()", "1;p", '"a,b=c"', "@", '"', ""])
    return st.one_of(usual, usual, usual, odd)


_KEYS = st.sampled_from(
    [*sorted(STANDARD_KEYS), "com.headrace-age", "com.headrace-cdn", "com.other-key", "foo", "ts_ms"]
)


@st.composite
def lines(draw: st.DrawFn) -> str:
    """Lines much like a reporter's: mostly well-formed, in order or not, some keys odd."""
    keys = draw(st.lists(_KEYS, max_size=8, unique=True))
    members = {key: draw(_value(key)) for key in keys}
    members |= {"e": draw(st.sampled_from(["ps", "rr", '"ps"'])), "sid": draw(_text_values()), "ts": draw(_NUMBERS)}
    order = sorted(members) if draw(st.booleans()) else list(members)
    return ",".join(f"{key}={members[key]}" if members[key] != "?1" else key for key in order)


@given(lines())
@example('cdn="A",com.headrace-cdn="",e=ps,sid="s",ts=5')
@example('e=ps,sid="null",ts=5,sta=null')
@settings(max_examples=300, deadline=None)
def test_fast_path_equals_reference(line: str) -> None:
    """A line that the fast path takes gives exactly the row that the reference parser gives, and never one that it refuses."""
    rows = STREAM._cmcd.parse_clean(line.encode())
    if rows is not None:
        assert [as_dict(row) for row in rows] == [as_dict(STREAM.parse_cmcd_slowly(line))]


@given(st.lists(lines(), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=80, deadline=None)
def test_a_batch_is_its_lines(batch: list[str], ending: str) -> None:
    """A body gives the rows and problems of its lines alone, in order: a bad line takes no good one with it."""
    whole = STREAM.parse_cmcd(ending.join(batch).encode(), line_bytes_max=8192)
    alone = [STREAM.parse_cmcd(line.encode(), line_bytes_max=8192) for line in batch]
    assert [as_dict(row) for row in whole.rows] == [as_dict(row) for parsed in alone for row in parsed.rows]
    assert [p.reason for p in whole.problems] == [p.reason for parsed in alone for p in parsed.problems]
    assert whole.count == len(batch)


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_answered(body: bytes) -> None:
    """No body raises; every line that is not blank is a row or a problem, in either notation."""
    filled = sum(bool(line.removesuffix(b"\r").strip()) for line in body.split(b"\n"))
    assert STREAM.parse_cmcd(body, line_bytes_max=100).count == filled
    assert STREAM.parse_json(body, line_bytes_max=100).count == filled


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b"garbage!", reasons.MALFORMED, "expected a comma at character 8"),
        (b'sid="\xff",e=ps,ts=5', reasons.NOT_UTF8, "byte 6 of the line"),
        (b'e=ps,sid="x"', reasons.MISSING_FIELD, "no `ts_ms`"),
        (b'e=ps,foo=3,sid="x",ts=5', reasons.UNKNOWN_FIELD, "no column for `foo`"),
        (b'e=ps,sid="x",ts=5,zz9=5', reasons.UNKNOWN_FIELD, "no column for `zz9`"),
        (
            b'com.headrace-agee=3,e=ps,sid="x",ts=5',
            reasons.UNKNOWN_FIELD,
            "no column for `com.headrace-agee`; close: `com.headrace-age`, `com.headrace-cdn`",
        ),
        (b'e=ps,recv_ms=3,sid="x",ts=5', reasons.UNKNOWN_FIELD, "`recv_ms` is set by the gateway"),
        (b'e=ps,sid="x",ts="a"', reasons.WRONG_TYPE, "expected `int`, got `str` - at `$.ts_ms`"),
        (b"e=ps,sid=7,ts=5", reasons.WRONG_TYPE, "expected `str`, got `int` - at `$.sid`"),
        (b'br=(99999999999),e=ps,sid="x",ts=5', reasons.OUT_OF_RANGE, "expected `int` <= 2147483647 - at `$.br`"),
        (b'e=ps,sid="",ts=5', reasons.OUT_OF_RANGE, "expected `str` of length >= 1 - at `$.sid`"),
        (b'cid="' + b"x" * 9000 + b'",e=ps,sid="x",ts=5', reasons.LINE_TOO_LONG, "9024 bytes, at most 8192"),
    ],
)
def test_bad_reports_are_named(line: bytes, reason: str, detail: str) -> None:
    """Each kind of bad report has its reason, detail and hint, and leaves its neighbours alone."""
    parsed = STREAM.parse_cmcd(GOOD + b"\n" + line + b"\n\n" + GOOD + b"\n", line_bytes_max=8192)
    (problem,) = parsed.problems
    assert (problem.line, problem.reason, problem.detail, problem.raw) == (2, reason, detail, line)
    assert problem.hint
    assert len(parsed.rows) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", reasons.MALFORMED),
        (b'{"sid":"x"}', reasons.MISSING_FIELD),
        (b'{"sid":null,"e":"ps","ts_ms":4}', reasons.MISSING_FIELD),
        (b'{"sid":"x","e":"ps","ts_ms":5,"foo":3}', reasons.UNKNOWN_FIELD),
        (b'{"sid":"x","e":"ps","ts_ms":5,"region":"a"}', reasons.UNKNOWN_FIELD),
        (b'{"sid":"x","e":"ps","ts_ms":"5"}', reasons.WRONG_TYPE),
        (b"[]", reasons.WRONG_TYPE),
        (b'{"sid":"x","e":"ps","ts_ms":5,"br":99999999999}', reasons.OUT_OF_RANGE),
        (b'{"sid":"\xff","e":"ps","ts_ms":5}', reasons.NOT_UTF8),
    ],
)
def test_bad_json_is_named(line: bytes, reason: str) -> None:
    """JSON rows are held to the same table."""
    good = b'{"sid":"x","e":"ps","ts_ms":5}'
    parsed = STREAM.parse_json(good + b"\n" + line + b"\n", line_bytes_max=8192)
    assert [problem.reason for problem in parsed.problems] == [reason]
    assert [as_dict(row) for row in parsed.rows] == [{"sid": "x", "e": "ps", "ts_ms": 5}]


def test_other_tables_have_their_own_types() -> None:
    """Any ODS table on Kafka is a stream: its types are checked, structured ones by their outer shape."""
    columns = (
        Column("id", "BIGINT", nullable=False), Column("on", "BOOLEAN"), Column("price", "DECIMAL(10, 2)"),
        Column("ratio", "DOUBLE"), Column("tags", "ARRAY<STRING>"), Column("more", "MAP<STRING, INT>"), Column("at", "TIMESTAMP(3)"),
    )  # fmt: skip
    stream = Stream(Table(name="orders", layer="ods", system="kafka", columns=columns, options={"key": "id"}, ddl=""))
    body = b'{"id":1,"on":true,"price":1.50,"ratio":2,"tags":["a"],"more":{"a":1},"at":"2026-01-01 00:00:00"}\n{"id":1,"tags":3}'
    parsed = stream.parse_json(body, line_bytes_max=8192)
    assert [problem.detail for problem in parsed.problems] == ["expected `array | null`, got `int` - at `$.tags`"]
    assert (parsed.rows[0].price, parsed.rows[0].ratio) == (msgspec.convert("1.50", type(parsed.rows[0].price)), 2.0)


def test_only_ods_tables_on_kafka_are_streams() -> None:
    """A derived table takes no beacons."""
    with pytest.raises(Invalid, match="not a stream"):
        Stream(Table(name="play_interval", layer="dwd", system="kafka", columns=(), ddl=""))
