"""Serializers' bytes become Python values; Java's and SQL's forms at their edges."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import google_crc32c
import pytest
from tests.unit.state import slim_writer as w

from headrace.core.errors import Corrupt, HeadraceError, Invalid
from headrace.state.codecs import SIMPLE, big_decimal, big_integer, local_date_time, simple_name
from headrace.state.compression import crc32c, unframe_snappy
from headrace.state.javadata import DataReader
from headrace.state.javaobjects import JavaEnum, JavaObject, read_java_object
from headrace.state.logical_types import LogicalType, logical_type_of
from headrace.state.proxy import read_head
from headrace.state.query import check_key, matches_key, plain
from headrace.state.rowdata import read_array, read_map, read_row
from headrace.state.serializers import read_snapshot
from headrace.state.tally import skew_of


def decoded(snapshot: bytes, data: bytes) -> Any:
    """A value by the snapshot of its serializer; all bytes must be used."""
    codec = read_snapshot(DataReader(snapshot))
    assert codec.read is not None, codec.name
    reader = DataReader(data)
    value = codec.read(reader)
    assert reader.remaining == 0
    return value


@pytest.mark.parametrize(
    ("name", "data", "value"),
    [
        ("Long", struct.pack(">q", -5), -5),
        ("Int", struct.pack(">i", 7), 7),
        ("Short", struct.pack(">h", -2), -2),
        ("Byte", b"\xff", -1),
        ("Boolean", b"\x01", True),
        ("Double", struct.pack(">d", 1.5), 1.5),
        ("Float", struct.pack(">f", -0.25), -0.25),
        ("Char", b"\x00A", "A"),
        ("String", b"\x00", None),
        ("String", b"\x01", ""),
        ("String", b"\x03ab", "ab"),
        ("String", b"\x02\xf6\x01", "ö"),
        ("String", b"\x03\xbd\xb0\x03\x80\xbc\x03", "\U0001f600"),
        ("BigInt", struct.pack(">i", 0), None),
        ("BigInt", struct.pack(">i", 3), 10),
        ("BigInt", struct.pack(">i", 6) + b"\xff\x00", -256),
        ("BigDec", struct.pack(">i", 6) + b"\x01\x00" + struct.pack(">i", 2), Decimal("2.56")),
        ("Instant", struct.pack(">qi", 1, 500_000), datetime(1970, 1, 1, 0, 0, 1, 500, tzinfo=UTC)),
        ("Instant", struct.pack(">qi", -(2**63), -(2**31)), None),
        ("LocalDate", struct.pack(">ibb", 2026, 3, 4), date(2026, 3, 4)),
        ("LocalTime", struct.pack(">bbbi", 1, 2, 3, 4000), time(1, 2, 3, 4)),
        ("Date", struct.pack(">q", 1000), datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        ("SqlTimestamp", struct.pack(">qi", 1000, 5000), datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)),
    ],
)
def test_basic_values(name: str, data: bytes, value: Any) -> None:
    """Each basic serializer of Flink, nulls and short forms included."""
    assert decoded(w.simple(name), data) == value


def test_nulls_of_composed_times() -> None:
    """A null date and time have their own marks."""
    null = struct.pack(">ih", -(2**31), -(2**15)) + struct.pack(">bhi", -128, -(2**15), -(2**31))
    assert local_date_time(DataReader(null)) is None
    assert big_integer(DataReader(struct.pack(">i", 1))) == 0
    assert big_decimal(DataReader(struct.pack(">i", 0))) is None


def test_serializers_of_parts() -> None:
    """Lists, maps with null values, tuples, rows with null bits, nullable values, TTL, timers."""
    one, two = struct.pack(">q", 1), struct.pack(">q", 2)
    assert decoded(w.list_of(w.LONG), struct.pack(">i", 2) + one + two) == [1, 2]
    entries = struct.pack(">i", 2) + one + b"\x00" + two + two + b"\x01"
    assert decoded(w.map_of(w.LONG, w.LONG), entries) == [{"key": 1, "value": 2}, {"key": 2, "value": None}]
    runtime = "org.apache.flink.api.java.typeutils.runtime."
    pair = w.composite(runtime + "TupleSerializerSnapshot", [w.LONG, w.STRING], outer_version=2, outer=w.utf("Tuple2"))
    assert decoded(pair, one + b"\x02x") == {"f0": 1, "f1": "x"}
    row = w.composite(
        runtime + "RowSerializer$RowSerializerSnapshot", [w.LONG, w.STRING], outer_version=4, outer=b"\x01"
    )
    assert decoded(row, b"\x10" + one) == {"f0": 1, "f1": None}
    nullable = w.composite(
        runtime + "NullableSerializer$NullableSerializerSnapshot", [w.LONG], outer_version=2, outer=struct.pack(">i", 8)
    )
    assert (decoded(nullable, b"\x00" + two), decoded(nullable, b"\x01" + bytes(8))) == (2, None)
    assert decoded(w.with_ttl(w.LONG), one + two) == {"last_access": 1, "value": 2}
    timer = decoded(w.timers_of(w.LONG, w.VOID), struct.pack(">Q", (1 << 63) + 9) + one + b"\x00")
    assert timer == {"timestamp": 9, "key": 1, "namespace": None}


def binary_row(slots: list[bytes], nulls: int = 0, tail: bytes = b"") -> bytes:
    """A BinaryRowData of fields in 8-byte slots."""
    width = (len(slots) + 63 + 8) // 64 * 8
    return (nulls << 8).to_bytes(width, "little") + b"".join(slot.ljust(8, b"\x00") for slot in slots) + tail


def test_rows_of_sql() -> None:
    """Fixed slots, short and long texts, compact and wide decimals, timestamps with nanoseconds, nested rows, nulls."""
    types = [
        LogicalType("INTEGER"),
        LogicalType("VARCHAR", precision=10),
        LogicalType("VARCHAR", precision=2**31 - 1),
        LogicalType("DECIMAL", precision=10, scale=2),
        LogicalType("DECIMAL", precision=30, scale=4),
        LogicalType("TIMESTAMP_WITHOUT_TIME_ZONE", precision=9),
        LogicalType("ROW", children=(LogicalType("BIGINT"),), names=("n",)),
        LogicalType("BOOLEAN"),
        LogicalType("UNKNOWN"),
    ]
    base = 8 + 8 * len(types)
    nested = binary_row([struct.pack("<q", 5)])
    tail = b"a longer text".ljust(16, b"\x00") + (10**20).to_bytes(16, "big") + struct.pack("<q", 1500) + nested

    def at(offset: int, length: int) -> bytes:
        return struct.pack("<II", length, base + offset)

    slots = [
        struct.pack("<i", -3),
        b"short".ljust(7, b"\x00") + bytes([0x80 | 5]),
        at(0, 13),
        struct.pack("<q", -250),
        at(16, 16),
        at(32, 7_000),
        at(40, len(nested)),
        b"",
        b"\x01\x02",
    ]
    row = read_row(binary_row(slots, nulls=1 << 7, tail=tail), types)
    assert list(row.values()) == [
        -3,
        "short",
        "a longer text",
        Decimal("-2.50"),
        Decimal("10000000000000000.0000"),
        datetime(1970, 1, 1, 0, 0, 1, 500_007),
        {"n": 5},
        None,
        "0102000000000000",
    ]


def test_arrays_and_maps_of_sql() -> None:
    """Elements have their own width; maps are two arrays."""
    ints = struct.pack("<iI", 3, 0b010) + struct.pack("<iii", 1, 0, 3)
    assert read_array(ints, LogicalType("INTEGER")) == [1, None, 3]
    keys = struct.pack("<iI", 1, 0) + struct.pack("<q", 7)
    values = struct.pack("<iI", 1, 0) + b"x".ljust(7, b"\x00") + b"\x81"
    data = struct.pack("<i", len(keys)) + keys + values
    assert read_map(data, LogicalType("BIGINT"), LogicalType("VARCHAR")) == [{"key": 7, "value": "x"}]
    with pytest.raises(Corrupt):
        read_array(struct.pack("<iI", 1000, 0), LogicalType("INTEGER"))
    with pytest.raises(Corrupt):
        read_row(b"\x00" * 8, [LogicalType("INTEGER")])


def test_types_are_written_as_in_sql() -> None:
    """Names that people know."""
    row = LogicalType("ROW", children=(LogicalType("DECIMAL", precision=10, scale=2),), names=("price",))
    assert str(row) == "ROW<price DECIMAL(10, 2)>"
    assert str(LogicalType("VARCHAR", precision=2**31 - 1)) == "STRING"
    tree = JavaObject(
        "org.apache.flink.table.types.logical.IntType", {"typeRoot": JavaEnum("LogicalTypeRoot", "INTEGER")}
    )
    assert str(logical_type_of(tree)) == "INT"
    assert logical_type_of(None).root == "UNKNOWN"


def test_java_streams_load_nothing() -> None:
    """An object of an unheard-of class is a tree; references point back; garbage and depth are refused."""
    class_ = b"\x72" + w.utf("evil.Gadget") + bytes(8) + b"\x02" + struct.pack(">H", 2)
    class_ += b"I" + w.utf("n") + b"L" + w.utf("other") + b"\x74" + w.utf("Levil/Gadget;") + b"\x78\x70"
    data = b"\xac\xed\x00\x05\x73" + class_ + struct.pack(">i", 5) + b"\x71\x00\x7e\x00\x02"
    tree = read_java_object(DataReader(data))
    assert isinstance(tree, JavaObject)
    assert (tree.class_name, tree.fields["n"], tree.fields["other"]) == ("evil.Gadget", 5, tree)
    with pytest.raises(Corrupt):
        read_java_object(DataReader(b"\xac\xed\x00\x05\x7f"))
    with pytest.raises(Corrupt, match="too deeply"):
        read_java_object(DataReader(b"\xac\xed\x00\x05" + b"\x76" * 500))


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_never_break_the_readers(seed: int) -> None:
    """Whatever bytes come, the readers give a value or a typed error."""
    dice = random.Random(seed)
    heads: list[Callable[[bytes], Any]] = [
        lambda data: read_java_object(DataReader(b"\xac\xed\x00\x05" + data)),
        lambda data: read_head(DataReader(struct.pack(">i?i", 6, False, 2) + data)),
        lambda data: unframe_snappy(DataReader(data)),
        lambda data: read_array(data, LogicalType("VARCHAR")),
    ]
    for _ in range(400):
        data = dice.randbytes(dice.randrange(80))
        for head in heads:
            try:
                head(data)
            except HeadraceError:
                continue


def test_states_after_an_unknown_serializer_are_found() -> None:
    """A snapshot of a user's class has no length: the next role or state is searched for, and its values stay bytes."""
    custom = w.utf("com.acme.ThingSerializerSnapshot") + struct.pack(">i", 4) + b"some configuration \x00\x01\x02"
    states = [w.Named("first", 0, "value", custom), w.Named("second", 1, "value", w.LONG, namespace=custom)]
    for key in (w.STRING, custom):
        head = read_head(DataReader(w.head(w.Checkpoint(states, [], key=key))))
        assert [state.name for state in head.states] == ["first", "second"]
        assert [state.value.name for state in head.states] == ["Thing", "Long"]
        assert head.states[1].namespace.read is None
        assert (head.key.read is None) == (key is custom)


def test_keys_match_what_is_printed() -> None:
    """Texts, fields with commas, JSON, hex."""
    assert matches_key("a", "a")
    assert matches_key({"f0": "a", "f1": 2}, "a,2")
    assert matches_key({"f0": "a", "f1": None}, '["a", null]')
    assert matches_key(b"\x01\xff", "01ff")
    assert not matches_key({"f0": "a"}, "b")
    assert plain({"a": [b"\x00", Decimal("1.0"), date(2026, 1, 2)]}) == {"a": ["00", "1.0", "2026-01-02"]}


@pytest.mark.parametrize(
    ("wanted", "known"),
    [
        ("abc", {"f0": 7}),
        ("1,2", {"f0": 7}),
        ("[1, 2]", {"f0": 7}),
        ("1.5", 7),
        ("a", {"f0": "a", "f1": 2}),
        ("a,b", {"f0": "a", "f1": 2}),
        ("yes", True),
        ("xyz", b"\x00"),
    ],
)
def test_keys_of_the_wrong_type_are_refused(wanted: str, known: Any) -> None:
    """With the type and an example, instead of a long look in vain."""
    with pytest.raises(Invalid, match="such as"):
        check_key(wanted, known, "RowData(BIGINT)")


@pytest.mark.parametrize(
    ("wanted", "known"),
    [
        ("-8", {"f0": 7}),
        ("a,b,c", "a"),
        ('["a"', "a"),
        ("x,y,2", {"f0": "a", "f1": 2}),
        ("null", {"f0": 7}),
        ("ff00", b"\x00"),
        ("1", {"f0": None}),
        ('{"f0": 3}', {"f0": 7}),
    ],
)
def test_keys_that_may_be_there_are_looked_for(wanted: str, known: Any) -> None:
    """What may be a key of the type, also texts with commas or brackets."""
    check_key(wanted, known, "type")


def test_skew_counts_empty_key_groups() -> None:
    """The mean is over all key groups; bars are runs of neighbours."""
    skew = skew_of({0: 1, 63: 7}, 64)
    assert skew is not None
    assert (skew.filled, skew.mean, skew.max_key_group, skew.ratio) == (2, 0.125, 63, 56.0)
    assert (len(skew.bars), skew.bars[0], skew.bars[-1]) == (32, 1, 7)
    assert skew_of({}, 8) is None


def test_checksums_and_names() -> None:
    """CRC32C in two parts; a class's short name."""
    assert crc32c(b"123456789") == crc32c(b"1234", b"56789") == 0xE3069283 == google_crc32c.value(b"123456789")
    assert simple_name("a.b.FooSerializer$FooSerializerSnapshot") == "Foo"
    assert "LongSerializerSnapshot" in SIMPLE
