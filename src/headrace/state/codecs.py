"""How the bytes of one Flink serializer become a Python value.

A `Codec` is what a serializer snapshot boils down to: a short name, the length if fixed, a reading function, and its parts. A codec that
cannot read (`read` is None) still names its serializer: such values stay bytes and are printed as hex. Nothing here loads a Java class or
unpickles; PyFlink's pickled values are byte arrays and stay bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from headrace.state.javadata import DataReader
from headrace.state.rowdata import decimal_of

VARIABLE = -1  # a serializer's length when it is not fixed, as Flink's `getLength`
_INT_MIN, _LONG_MIN, _BYTE_MIN = -(2**31), -(2**63), -128
Read = Callable[[DataReader], Any]


@dataclass(frozen=True, slots=True)
class Codec:
    """One serializer.

    Args:
        name: short, for people: `Long`, `RowData(STRING, BIGINT)`.
        class_name: the class of the serializer's snapshot.
        length: bytes of each value, or `VARIABLE`.
        read: reads one value; None when this package cannot.
        parts: codecs of elements, keys, values, fields.
        names: of the fields, when there are fields.
    """

    name: str
    class_name: str
    length: int = VARIABLE
    read: Read | None = None
    parts: tuple[Codec, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def is_readable(self) -> bool:
        """Whether values become Python values."""
        return self.read is not None

    @property
    def is_void(self) -> bool:
        """Whether this is the namespace of states that have none."""
        return self.name == "VoidNamespace"


def nothing(length: int) -> Read:
    """Values of `length` bytes that say nothing."""

    def read(reader: DataReader) -> None:
        reader.take(length)

    return read


VOID_NAMESPACE = Codec("VoidNamespace", "VoidNamespaceSerializerSnapshot", 0, nothing(1))


def unreadable(class_name: str, name: str = "") -> Codec:
    """A serializer that is known by its class only."""
    return Codec(name or simple_name(class_name), class_name)


def simple_name(class_name: str) -> str:
    """A class's own name, without package, outer class, and the words that every snapshot has."""
    name = class_name.rpartition(".")[2].rpartition("$")[2]
    for ending in ("SerializerSnapshot", "Snapshot", "Serializer"):
        if name.endswith(ending) and name != ending:
            return name.removesuffix(ending)
    return name


def of_parts(
    name: str, class_name: str, parts: Sequence[Codec], read: Read, *, length: int = VARIABLE, names: Sequence[str] = ()
) -> Codec:
    """A codec of parts: readable only when all parts are."""
    shown = f"{name}({', '.join(part.name for part in parts)})"
    readable = all(part.is_readable for part in parts)
    return Codec(shown, class_name, length, read if readable else None, tuple(parts), tuple(names))


def required(codec: Codec) -> Read:
    """The reading function of a codec that is readable."""
    assert codec.read is not None, codec.name
    return codec.read


def list_reader(element: Codec) -> Read:
    """Int size, elements."""
    return lambda reader: [required(element)(reader) for _ in range(reader.count("elements"))]


def map_reader(key: Codec, value: Codec) -> Read:
    """Int size, then per entry: key, null flag, value."""
    return _entries(lambda reader: required(key)(reader), nullable_reader(value, 0))


def null_aware_map_reader(key: Codec, value: Codec) -> Read:
    """As `map_reader`, with a null flag before each key too."""
    return _entries(nullable_reader(key, 0), nullable_reader(value, 0))


def _entries(read_key: Read, read_value: Read) -> Read:
    def read(reader: DataReader) -> list[dict[str, Any]]:
        return [{"key": read_key(reader), "value": read_value(reader)} for _ in range(reader.count("entries"))]

    return read


def fields_reader(parts: Sequence[Codec], names: Sequence[str]) -> Read:
    """One field after the other."""
    return lambda reader: {name: required(part)(reader) for name, part in zip(names, parts, strict=True)}


def nullable_reader(part: Codec, padding: int) -> Read:
    """Null flag, then the value or the padding."""
    skip = nothing(padding)
    return lambda reader: skip(reader) if reader.flag() else required(part)(reader)


def row_reader(parts: Sequence[Codec], *, with_kind: bool) -> Read:
    """A `Row`: bits (two of the row kind, one per null field, most significant first), then the fields that are not null."""
    skipped = 2 if with_kind else 0

    def read(reader: DataReader) -> dict[str, Any]:
        mask = bits(reader, skipped + len(parts))[skipped:]
        return {
            f"f{index}": None if null else required(part)(reader)
            for index, (part, null) in enumerate(zip(parts, mask, strict=True))
        }

    return read


def bits(reader: DataReader, count: int) -> list[bool]:
    """A mask of `count` bits, the most significant of each byte first."""
    data = reader.take((count + 7) // 8)
    return [bool(data[index >> 3] & (0x80 >> (index & 7))) for index in range(count)]


def linked_list_reader(element: Codec, *, with_nulls: bool) -> Read:
    """Int size, mask of nulls, elements that are not null."""

    def read(reader: DataReader) -> list[Any]:
        size = reader.count("elements") if not with_nulls else reader.i32()
        if size < 0 or size > reader.remaining * 8:
            raise reader.corrupt("impossible number of elements", count=size)
        nulls = bits(reader, size) if with_nulls else [False] * size
        return [None if null else required(element)(reader) for null in nulls]

    return read


def big_integer(reader: DataReader) -> int | None:
    """Int length + 4 and two's complement; 0 is null, 1 to 3 stand for 0, 1 and 10."""
    length = reader.i32()
    if 0 <= length < 4:
        return (None, 0, 1, 10)[length]
    return int.from_bytes(reader.take(length - 4), "big", signed=True)


def big_decimal(reader: DataReader) -> Decimal | None:
    """A big integer and, when not null, the scale."""
    unscaled = big_integer(reader)
    return None if unscaled is None else decimal_of(unscaled, reader.i32())


def instant(reader: DataReader) -> datetime | str | None:
    """Long seconds, int nanoseconds."""
    seconds, nanos = reader.i64(), reader.i32()
    if seconds == _LONG_MIN and nanos == _INT_MIN:
        return None
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        return f"{seconds} s since the epoch"


def local_date(reader: DataReader) -> date | str | None:
    """Int year, byte month, byte day."""
    year = reader.i32()
    month, day = reader.i8(), reader.i8()
    if year == _INT_MIN:
        return None
    return date(year, month, day) if 1 <= year <= 9999 else f"{year}-{month:02d}-{day:02d}"


def local_time(reader: DataReader) -> time | None:
    """Byte hour, minute, second, int nanoseconds."""
    hour, minute, second, nanos = reader.i8(), reader.i8(), reader.i8(), reader.i32()
    return None if hour == _BYTE_MIN else time(hour, minute, second, nanos // 1000)


def local_date_time(reader: DataReader) -> datetime | str | None:
    """A date, then a time."""
    day, moment = local_date(reader), local_time(reader)
    if day is None or moment is None:
        return None
    return datetime.combine(day, moment) if isinstance(day, date) else f"{day} {moment}"


def epoch_ms(reader: DataReader) -> datetime | str | None:
    """Long milliseconds since the epoch; the smallest long is null."""
    value = reader.i64()
    return None if value == _LONG_MIN else _moment(value)


def sql_timestamp(reader: DataReader) -> datetime | str | None:
    """Long milliseconds, int nanoseconds of the second."""
    value, nanos = reader.i64(), reader.i32()
    made = None if value == _LONG_MIN else _moment(value)
    return made.replace(microsecond=nanos // 1000) if isinstance(made, datetime) else made


def _moment(value: int) -> datetime | str:
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)
    except OverflowError:
        return f"{value} ms since the epoch"


def array_of(read: Read) -> Read:
    """Int size, elements."""
    return lambda reader: [read(reader) for _ in range(reader.count("elements"))]


def time_window(reader: DataReader) -> dict[str, int]:
    """A time window: start and end in ms since the epoch."""
    return {"start": reader.i64(), "end": reader.i64()}


def flipped_long(reader: DataReader) -> int:
    """A long whose sign bit is flipped, so that bytes sort like numbers (timers)."""
    return reader.i64() ^ _LONG_MIN


SIMPLE: dict[str, tuple[str, int, Read | None]] = {
    "LongSerializerSnapshot": ("Long", 8, DataReader.i64),
    "LongValueSerializerSnapshot": ("Long", 8, DataReader.i64),
    "IntSerializerSnapshot": ("Int", 4, DataReader.i32),
    "IntValueSerializerSnapshot": ("Int", 4, DataReader.i32),
    "ShortSerializerSnapshot": ("Short", 2, DataReader.i16),
    "ShortValueSerializerSnapshot": ("Short", 2, DataReader.i16),
    "ByteSerializerSnapshot": ("Byte", 1, DataReader.i8),
    "ByteValueSerializerSnapshot": ("Byte", 1, DataReader.i8),
    "BooleanSerializerSnapshot": ("Boolean", 1, DataReader.flag),
    "BooleanValueSerializerSnapshot": ("Boolean", 1, DataReader.flag),
    "DoubleSerializerSnapshot": ("Double", 8, DataReader.f64),
    "DoubleValueSerializerSnapshot": ("Double", 8, DataReader.f64),
    "FloatSerializerSnapshot": ("Float", 4, DataReader.f32),
    "FloatValueSerializerSnapshot": ("Float", 4, DataReader.f32),
    "CharSerializerSnapshot": ("Char", 2, lambda reader: chr(reader.u16())),
    "StringSerializerSnapshot": ("String", VARIABLE, DataReader.string),
    "StringValueSerializerSnapshot": ("String", VARIABLE, DataReader.string),
    "BigIntSerializerSnapshot": ("BigInteger", VARIABLE, big_integer),
    "BigDecSerializerSnapshot": ("BigDecimal", VARIABLE, big_decimal),
    "InstantSerializerSnapshot": ("Instant", 12, instant),
    "LocalDateSerializerSnapshot": ("LocalDate", 6, local_date),
    "LocalTimeSerializerSnapshot": ("LocalTime", 7, local_time),
    "LocalDateTimeSerializerSnapshot": ("LocalDateTime", 13, local_date_time),
    "DateSerializerSnapshot": ("Date", 8, epoch_ms),
    "SqlDateSerializerSnapshot": ("sql.Date", 8, epoch_ms),
    "SqlTimeSerializerSnapshot": ("sql.Time", 8, epoch_ms),
    "SqlTimestampSerializerSnapshot": ("sql.Timestamp", 12, sql_timestamp),
    "VoidSerializerSnapshot": ("Void", 1, nothing(1)),
    "NullSerializerSnapshot": ("Null", 1, nothing(1)),
    "SortedLongSerializerSnapshot": ("Long", 8, flipped_long),
    "VoidNamespaceSerializerSnapshot": ("VoidNamespace", 0, VOID_NAMESPACE.read),
    "TimeWindowSerializerSnapshot": ("TimeWindow", 16, time_window),
    "CountWindowSerializerSnapshot": ("CountWindow", 8, DataReader.i64),
    "GlobalWindowSerializerSnapshot": ("GlobalWindow", 1, nothing(1)),
    "BytePrimitiveArraySerializerSnapshot": ("bytes", VARIABLE, DataReader.block),
    "BooleanPrimitiveArraySerializerSnapshot": ("boolean[]", VARIABLE, array_of(DataReader.flag)),
    "ShortPrimitiveArraySerializerSnapshot": ("short[]", VARIABLE, array_of(DataReader.i16)),
    "IntPrimitiveArraySerializerSnapshot": ("int[]", VARIABLE, array_of(DataReader.i32)),
    "LongPrimitiveArraySerializerSnapshot": ("long[]", VARIABLE, array_of(DataReader.i64)),
    "FloatPrimitiveArraySerializerSnapshot": ("float[]", VARIABLE, array_of(DataReader.f32)),
    "DoublePrimitiveArraySerializerSnapshot": ("double[]", VARIABLE, array_of(DataReader.f64)),
    "ByteArrayWrapperSerializerSnapshot": ("bytes", VARIABLE, DataReader.block),
    "StringArraySerializerSnapshot": ("String[]", VARIABLE, array_of(DataReader.string)),
    "StringDataSerializerSnapshot": ("STRING", VARIABLE, lambda reader: reader.block().decode("utf-8", "replace")),
}
