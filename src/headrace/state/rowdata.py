"""Decode Flink's binary SQL rows, arrays and maps into Python values.

BinaryRowData: 1 byte row kind, then a null bit per field from bit 8 on, rounded up to 8 bytes; then 8 bytes a field; then the variable
part. A field holds its value, or (offset << 32 | length) into the row, or up to 7 bytes inline (top bit set, length in the 7 bits below).
BinaryArrayData: int size, null bits rounded up to 4 bytes, elements of their own width, variable part. BinaryMapData: int bytes of the
key array, key array, value array. All little-endian.

A field whose type is not known becomes its eight raw bytes in hex. Source: flink-table-common, `data.binary`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from headrace.core.errors import Corrupt
from headrace.state.logical_types import UNKNOWN, LogicalType

COMPACT_PRECISION_MAX = 18  # a DECIMAL up to here is a long
COMPACT_TIMESTAMP_MAX = 3  # a TIMESTAMP up to here is a long of milliseconds
_EPOCH, _EPOCH_UTC, _EPOCH_DAY = datetime(1970, 1, 1), datetime(1970, 1, 1, tzinfo=UTC), date(1970, 1, 1)
_NANOS_OF_MICRO = 1000
_Read = Callable[[bytes, int, LogicalType], Any]


def read_row(data: bytes, types: Sequence[LogicalType], names: Sequence[str] = ()) -> dict[str, Any]:
    """Decode a row of `types`; fields without names are f0, f1, ...

    Raises:
        Corrupt: the bytes are too few for the types.
    """
    null_bytes = (len(types) + 63 + 8) // 64 * 8
    if len(data) < null_bytes + 8 * len(types):
        raise Corrupt("a row is shorter than its fields", context={"bytes": len(data), "fields": len(types)})
    row: dict[str, Any] = {}
    for index, kind in enumerate(types):
        name = names[index] if names else f"f{index}"
        bit = index + 8
        null = data[bit >> 3] & (1 << (bit & 7))
        row[name] = None if null else read_field(data, null_bytes + 8 * index, kind)
    return row


def read_array(data: bytes, kind: LogicalType) -> list[Any]:
    """Decode an array of elements of `kind`."""
    if len(data) < 4:
        raise Corrupt("an array is shorter than its header", context={"bytes": len(data)})
    size = int.from_bytes(data[:4], "little", signed=True)
    first, width = 4 + (size + 31) // 32 * 4, _width(kind)
    if size < 0 or first + size * width > len(data):
        raise Corrupt("an array is shorter than its elements", context={"bytes": len(data), "elements": size})
    nulls = data[4:first]
    return [
        None if nulls[index >> 3] & (1 << (index & 7)) else read_field(data, first + index * width, kind)
        for index in range(size)
    ]


def read_map(data: bytes, key: LogicalType, value: LogicalType) -> list[dict[str, Any]]:
    """Decode a map into a list of {"key", "value"}, since SQL map keys need not be strings."""
    length = int.from_bytes(data[:4], "little", signed=True)
    if len(data) < 4 or not 0 <= length <= len(data) - 4:
        raise Corrupt("a map is shorter than its keys", context={"bytes": len(data), "key_bytes": length})
    keys, values = read_array(data[4 : 4 + length], key), read_array(data[4 + length :], value)
    return [{"key": k, "value": v} for k, v in zip(keys, values, strict=True)]


def read_field(data: bytes, offset: int, kind: LogicalType) -> Any:
    """Decode the field or element at `offset` of a row or array."""
    reader = _READERS.get(kind.root)
    if reader is None:
        return data[offset : offset + 8].hex()
    try:
        return reader(data, offset, kind)
    except struct.error as error:
        raise Corrupt("a field lies outside its row", context={"offset": offset, "type": kind}) from error


def decimal_of(unscaled: int, scale: int) -> Decimal:
    """An unscaled number with its scale."""
    sign, digits = (1 if unscaled < 0 else 0), tuple(int(digit) for digit in str(abs(unscaled)))
    return Decimal((sign, digits, -scale))


def timestamp_of(millisecond: int, nanosecond: int, *, zoned: bool) -> datetime | str:
    """A timestamp; as text when Python cannot hold it (finer than a microsecond, or outside the years 1 to 9999)."""
    try:
        moment = timedelta(milliseconds=millisecond, microseconds=nanosecond // _NANOS_OF_MICRO)
        made = (_EPOCH_UTC if zoned else _EPOCH) + moment
    except OverflowError:
        return f"{millisecond} ms since the epoch"
    if nanosecond % _NANOS_OF_MICRO:
        return f"{made:%Y-%m-%d %H:%M:%S}.{made.microsecond * _NANOS_OF_MICRO + nanosecond % _NANOS_OF_MICRO:09d}"
    return made


def date_of(days: int) -> date | str:
    """A date by its day since the epoch; as text outside the years 1 to 9999."""
    try:
        return _EPOCH_DAY + timedelta(days=days)
    except OverflowError:
        return f"day {days} since the epoch"


def time_of(millisecond: int) -> time | int:
    """A time of day by its millisecond; the number itself when it is none."""
    if not 0 <= millisecond < 86_400_000:
        return millisecond
    return (_EPOCH + timedelta(milliseconds=millisecond)).time()


def _long(data: bytes, offset: int) -> int:
    return int(struct.unpack_from("<q", data, offset)[0])


def _int(data: bytes, offset: int) -> int:
    return int(struct.unpack_from("<i", data, offset)[0])


def _bytes(data: bytes, offset: int) -> bytes:
    """The variable-length value whose slot is at `offset`."""
    slot = _long(data, offset)
    if slot < 0:
        return data[offset : offset + ((slot >> 56) & 0x7F)]
    return _part(data, slot)


def _part(data: bytes, slot: int) -> bytes:
    start, length = slot >> 32, slot & 0xFFFFFFFF
    if start + length > len(data):
        raise Corrupt("a field lies outside its row", context={"offset": start, "bytes": length})
    return data[start : start + length]


def _decimal(data: bytes, offset: int, kind: LogicalType) -> Decimal:
    if kind.precision <= COMPACT_PRECISION_MAX:
        return decimal_of(_long(data, offset), kind.scale)
    return decimal_of(int.from_bytes(_part(data, _long(data, offset)), "big", signed=True), kind.scale)


def _timestamp(data: bytes, offset: int, kind: LogicalType) -> Any:
    zoned = kind.root == "TIMESTAMP_WITH_LOCAL_TIME_ZONE"
    slot = _long(data, offset)
    if kind.precision <= COMPACT_TIMESTAMP_MAX:
        return timestamp_of(slot, 0, zoned=zoned)
    return timestamp_of(_long(data, slot >> 32), slot & 0xFFFFFFFF, zoned=zoned)


def _nested_row(data: bytes, offset: int, kind: LogicalType) -> dict[str, Any]:
    return read_row(_part(data, _long(data, offset)), kind.children, kind.names)


def _unpacker(code: str) -> _Read:
    packed = struct.Struct("<" + code)
    return lambda data, offset, _kind: packed.unpack_from(data, offset)[0]


def _width(kind: LogicalType) -> int:
    source = kind.children[0] if kind.root == "DISTINCT_TYPE" else kind
    return _WIDTHS.get(source.root, 8)


_WIDTHS = {"BOOLEAN": 1, "TINYINT": 1, "SMALLINT": 2} | dict.fromkeys(
    ("INTEGER", "FLOAT", "DATE", "TIME_WITHOUT_TIME_ZONE", "INTERVAL_YEAR_MONTH"), 4
)
_READERS: dict[str, _Read] = {
    "BOOLEAN": lambda data, offset, _: data[offset] != 0,
    "TINYINT": _unpacker("b"),
    "SMALLINT": _unpacker("h"),
    "INTEGER": _unpacker("i"),
    "BIGINT": _unpacker("q"),
    "FLOAT": _unpacker("f"),
    "DOUBLE": _unpacker("d"),
    "INTERVAL_YEAR_MONTH": _unpacker("i"),
    "INTERVAL_DAY_TIME": _unpacker("q"),
    "DATE": lambda data, offset, _: date_of(_int(data, offset)),
    "TIME_WITHOUT_TIME_ZONE": lambda data, offset, _: time_of(_int(data, offset)),
    "TIMESTAMP_WITHOUT_TIME_ZONE": _timestamp,
    "TIMESTAMP_WITH_LOCAL_TIME_ZONE": _timestamp,
    "DECIMAL": _decimal,
    "CHAR": lambda data, offset, _: _bytes(data, offset).decode("utf-8", "replace"),
    "VARCHAR": lambda data, offset, _: _bytes(data, offset).decode("utf-8", "replace"),
    "BINARY": lambda data, offset, _: _bytes(data, offset),
    "VARBINARY": lambda data, offset, _: _bytes(data, offset),
    "RAW": lambda data, offset, _: _bytes(data, offset),
    "ARRAY": lambda data, offset, kind: read_array(_part(data, _long(data, offset)), kind.children[0]),
    "MAP": lambda data, offset, kind: read_map(_part(data, _long(data, offset)), *kind.children),
    "MULTISET": lambda data, offset, kind: read_map(
        _part(data, _long(data, offset)), kind.children[0], LogicalType("INTEGER")
    ),
    "ROW": _nested_row,
    "STRUCTURED_TYPE": _nested_row,
    "DISTINCT_TYPE": lambda data, offset, kind: read_field(data, offset, kind.children[0]),
    "NULL": lambda _data, _offset, _kind: None,
}
UNKNOWN_TYPE = LogicalType(UNKNOWN)
