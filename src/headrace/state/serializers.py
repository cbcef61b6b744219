"""Read serializer snapshots: the class name, version and content that Flink writes for each serializer, into codecs.

A snapshot's content has no length in front, so each class must be known to be walked over. `SNAPSHOTS` has the readers by class; an
unknown class raises `UnknownSnapshot`, and whoever reads the whole metadata looks for the next thing it knows (`proxy`).

Source: flink-core `TypeSerializerSnapshot`, `CompositeTypeSerializerSnapshot`, `NestedSerializersSnapshotDelegate`,
`LinkedOptionalMapSerializer`; flink-table-runtime `typeutils`.
"""

from __future__ import annotations

from collections.abc import Callable

from headrace.core.errors import Unsupported
from headrace.state.codecs import (
    SIMPLE,
    VARIABLE,
    Codec,
    Read,
    fields_reader,
    flipped_long,
    linked_list_reader,
    list_reader,
    map_reader,
    null_aware_map_reader,
    nullable_reader,
    of_parts,
    required,
    row_reader,
    unreadable,
)
from headrace.state.javadata import DataReader
from headrace.state.javaobjects import read_java_object
from headrace.state.logical_types import LogicalType, read_logical_type
from headrace.state.rowdata import (
    COMPACT_PRECISION_MAX,
    COMPACT_TIMESTAMP_MAX,
    decimal_of,
    read_array,
    read_map,
    read_row,
    timestamp_of,
)

FLINK = "org.apache.flink."
PROXY_VERSION = 2
COMPOSITE_MAGIC, NESTED_MAGIC, OPTIONAL_MAP_MAGIC = 911108, 1333245, 0x4F2C69A3D70
NESTING_MAX = 60
PARTS_MAX = 10_000
_Parse = Callable[[DataReader, int, str], Codec]


class UnknownSnapshot(Unsupported):
    """A serializer snapshot whose content cannot be walked over: what follows it must be searched for."""

    def __init__(self, class_name: str, position: int) -> None:
        super().__init__("serializer snapshot of an unknown class", context={"class": class_name})
        self.class_name = class_name
        self.position = position


def read_serializer(reader: DataReader) -> Codec:
    """Read a snapshot with the version of the surrounding format in front, as it stands in metadata.

    Raises:
        Corrupt: the bytes are no snapshot.
        UnknownSnapshot: its class is not known.
    """
    version = reader.i32()
    if version != PROXY_VERSION:
        raise reader.corrupt("unknown version of a serializer snapshot", version=version)
    return read_snapshot(reader)


def read_snapshot(reader: DataReader) -> Codec:
    """Read class name, version and content."""
    class_name, version = reader.utf(), reader.i32()
    name = class_name.rpartition(".")[2].rpartition("$")[2]
    if class_name.startswith(FLINK) and name in SIMPLE:
        return _simple(reader, version, class_name)
    parse = SNAPSHOTS.get(name) if class_name.startswith(FLINK) else None
    if parse is None:
        raise UnknownSnapshot(class_name, reader.position)
    return parse(reader, version, class_name)


def _simple(reader: DataReader, version: int, class_name: str) -> Codec:
    if version == 2:
        reader.utf()
    name, length, read = SIMPLE[class_name.rpartition(".")[2].rpartition("$")[2]]
    return Codec(name, class_name, length, read)


def _outer(reader: DataReader) -> int:
    """The frame of a composite snapshot; gives the outer version."""
    if reader.i32() != COMPOSITE_MAGIC:
        raise reader.corrupt("a composite serializer snapshot does not begin as one")
    return reader.i32()


def _nested(reader: DataReader) -> list[Codec]:
    if reader.i32() != NESTED_MAGIC or reader.i32() != 1:
        raise reader.corrupt("nested serializer snapshots do not begin as such")
    return [read_snapshot(reader) for _ in range(reader.count("nested snapshots", bytes_each=6))]


def _parts(reader: DataReader, count: int) -> list[Codec]:
    """The parts of a composite snapshot without outer content."""
    _outer(reader)
    return _exactly(reader, _nested(reader), count)


def _exactly(reader: DataReader, parts: list[Codec], count: int) -> list[Codec]:
    if len(parts) != count:
        raise reader.corrupt("a serializer snapshot has a wrong number of parts", parts=len(parts), wanted=count)
    return parts


def _list(reader: DataReader, _version: int, class_name: str) -> Codec:
    (element,) = _parts(reader, 1)
    return of_parts("List", class_name, [element], list_reader(element))


def _view_of_list(reader: DataReader, _version: int, class_name: str) -> Codec:
    (elements,) = _parts(reader, 1)
    return of_parts("ListView", class_name, [elements], lambda data: required(elements)(data))


def _map(reader: DataReader, _version: int, class_name: str) -> Codec:
    key, value = _parts(reader, 2)
    return of_parts("Map", class_name, [key, value], map_reader(key, value))


def _view_of_map(reader: DataReader, _version: int, class_name: str) -> Codec:
    (entries,) = _parts(reader, 1)
    return of_parts("MapView", class_name, [entries], lambda data: required(entries)(data))


def _null_aware_map(reader: DataReader, _version: int, class_name: str) -> Codec:
    key, value = _parts(reader, 2)
    return of_parts("Map", class_name, [key, value], null_aware_map_reader(key, value))


def _tuple(reader: DataReader, _version: int, class_name: str) -> Codec:
    _outer(reader)
    reader.utf()
    parts = _nested(reader)
    names = [f"f{index}" for index in range(len(parts))]
    fixed = all(part.length > 0 for part in parts)
    length = sum(part.length for part in parts) if fixed else VARIABLE
    return of_parts("Tuple", class_name, parts, fields_reader(parts, names), length=length, names=names)


def _row(reader: DataReader, _version: int, class_name: str) -> Codec:
    outer = _outer(reader)
    with_kind = reader.flag() if outer > 3 else outer == 3
    parts = _nested(reader)
    names = [f"f{index}" for index in range(len(parts))]
    return of_parts("Row", class_name, parts, row_reader(parts, with_kind=with_kind), names=names)


def _nullable(reader: DataReader, _version: int, class_name: str) -> Codec:
    _outer(reader)
    padding = reader.i32()
    (part,) = _exactly(reader, _nested(reader), 1)
    length = 1 + padding if padding else VARIABLE
    return of_parts("Nullable", class_name, [part], nullable_reader(part, padding), length=length)


def _object_array(reader: DataReader, _version: int, class_name: str) -> Codec:
    _outer(reader)
    reader.utf()
    (part,) = _exactly(reader, _nested(reader), 1)
    one: Read = lambda data: required(part)(data) if data.flag() else None  # noqa: E731
    return of_parts("Array", class_name, [part], lambda data: [one(data) for _ in range(data.count("elements"))])


def _either(reader: DataReader, _version: int, class_name: str) -> Codec:
    left, right = _parts(reader, 2)
    return of_parts(
        "Either",
        class_name,
        [left, right],
        lambda data: {"left": required(left)(data)} if data.flag() else {"right": required(right)(data)},
    )


def _ttl(reader: DataReader, _version: int, class_name: str) -> Codec:
    timestamp, value = _parts(reader, 2)
    names = ("last_access", "value")
    return of_parts("Ttl", class_name, [timestamp, value], fields_reader([timestamp, value], names), names=names)


def _ttl_aware(reader: DataReader, _version: int, _class_name: str) -> Codec:
    reader.flag()
    return read_snapshot(reader)


def _timer(reader: DataReader, _version: int, class_name: str) -> Codec:
    key, namespace = _parts(reader, 2)
    parts = [Codec("Timestamp", class_name, 8, flipped_long), key, namespace]
    names = ("timestamp", "key", "namespace")
    return of_parts("Timer", class_name, parts, fields_reader(parts, names), names=names)


def _window_key(reader: DataReader, _version: int, class_name: str) -> Codec:
    (key,) = _parts(reader, 1)
    parts = [Codec("Long", class_name, 8, DataReader.i64), key]
    return of_parts("WindowKey", class_name, parts, fields_reader(parts, ("window", "key")), names=("window", "key"))


def _linked_list(reader: DataReader, _version: int, class_name: str) -> Codec:
    outer = _outer(reader)
    with_nulls = reader.flag() if outer > 2 else outer == 2
    (element,) = _exactly(reader, _nested(reader), 1)
    return of_parts("List", class_name, [element], linked_list_reader(element, with_nulls=with_nulls))


def _buffer_entry(reader: DataReader, _version: int, class_name: str) -> Codec:
    (element,) = _parts(reader, 1)
    parts = [Codec("Boolean", class_name, 1, DataReader.flag), element]
    names = ("joined", "element")
    return of_parts("BufferEntry", class_name, parts, fields_reader(parts, names), names=names)


def _raw_value(reader: DataReader, _version: int, class_name: str) -> Codec:
    (part,) = _parts(reader, 1)
    return Codec(f"RAW({part.name})", class_name, VARIABLE, DataReader.block)


def _external(reader: DataReader, _version: int, class_name: str) -> Codec:
    _outer(reader)
    read_java_object(reader)  # the data type: how user code sees the value
    reader.flag()
    (part,) = _exactly(reader, _nested(reader), 1)
    return Codec(part.name, class_name, part.length, part.read, part.parts, part.names)


def _enum(reader: DataReader, _version: int, class_name: str) -> Codec:
    enum = reader.utf()
    constants = [reader.utf() for _ in range(reader.count("constants", bytes_each=2))]
    return Codec(enum.rpartition(".")[2], class_name, 4, lambda data: constants[data.i32()])


def _decimal_data(reader: DataReader, _version: int, class_name: str) -> Codec:
    precision, scale = reader.i32(), reader.i32()
    compact = precision <= COMPACT_PRECISION_MAX
    return Codec(
        f"DECIMAL({precision}, {scale})",
        class_name,
        VARIABLE,
        lambda data: decimal_of(data.i64() if compact else int.from_bytes(data.block(), "big", signed=True), scale),
    )


def _timestamp_data(reader: DataReader, _version: int, class_name: str) -> Codec:
    precision = reader.i32()
    compact = precision <= COMPACT_TIMESTAMP_MAX
    return Codec(
        f"TIMESTAMP({precision})",
        class_name,
        8 if compact else 12,
        lambda data: timestamp_of(data.i64(), 0 if compact else data.i32(), zoned=False),
    )


def _row_data(reader: DataReader, _version: int, class_name: str) -> Codec:
    types = tuple(read_logical_type(reader) for _ in range(reader.count("fields")))
    try:
        _nested(reader)  # of the fields: what they are is said by the types
    except UnknownSnapshot as unknown:
        raise UnknownSnapshot(unknown.class_name, reader.position) from unknown
    return row_data_codec(types, class_name)


def row_data_codec(types: tuple[LogicalType, ...], class_name: str) -> Codec:
    """Rows of SQL: int length, then the row's binary form."""
    names = tuple(f"f{index}" for index in range(len(types)))
    shown = f"RowData({', '.join(map(str, types))})"
    return Codec(shown, class_name, VARIABLE, lambda data: read_row(data.block(), types, names), (), names)


def _binary_row(reader: DataReader, _version: int, class_name: str) -> Codec:
    types = (LogicalType("UNKNOWN"),) * min(reader.count("fields", bytes_each=0), PARTS_MAX)
    return row_data_codec(types, class_name)


def _array_data(reader: DataReader, _version: int, class_name: str) -> Codec:
    kind = read_logical_type(reader)
    read_java_object(reader)
    return Codec(f"ARRAY<{kind}>", class_name, VARIABLE, lambda data: read_array(data.block(), kind))


def _map_data(reader: DataReader, _version: int, class_name: str) -> Codec:
    key, value = read_logical_type(reader), read_logical_type(reader)
    read_java_object(reader)
    read_java_object(reader)
    return Codec(f"MAP<{key}, {value}>", class_name, VARIABLE, lambda data: read_map(data.block(), key, value))


def _sorted_map(reader: DataReader, _version: int, class_name: str) -> Codec:
    read_java_object(reader)
    key, value = _exactly(reader, _nested(reader), 2)
    return of_parts("SortedMap", class_name, [key, value], map_reader(key, value))


def _optional_map(reader: DataReader) -> dict[str, bytes | None]:
    """Name to value frame; the frames have lengths, so their content need not be known."""
    if reader.i64() != OPTIONAL_MAP_MAGIC:
        raise reader.corrupt("a map of a serializer snapshot does not begin as one")
    found: dict[str, bytes | None] = {}
    for _ in range(reader.count("entries", bytes_each=4)):
        name = reader.utf()
        if reader.flag():
            reader.block()
        found[name] = reader.block() if reader.flag() else None
    return found


def _pojo(reader: DataReader, _version: int, class_name: str) -> Codec:
    shown = reader.utf().rpartition(".")[2]
    fields, _registered, _others = _optional_map(reader), _optional_map(reader), _optional_map(reader)
    try:
        parts = [read_snapshot(DataReader(frame or b"", place=reader.place)) for frame in fields.values()]
    except UnknownSnapshot:
        return unreadable(class_name, shown)
    one = [nullable_reader(part, 0) for part in parts]

    def read(data: DataReader) -> dict[str, object] | None:
        flags = data.u8()
        if flags & 1:
            return None
        if not flags & 2:
            raise Unsupported("a value of a subclass of a POJO cannot be read", context={"class": shown})
        return {name: field(data) for name, field in zip(fields, one, strict=True)}

    return of_parts(shown, class_name, parts, read, names=tuple(fields))


def _kryo(reader: DataReader, _version: int, class_name: str) -> Codec:
    shown = reader.utf().rpartition(".")[2]
    for _ in range(3):
        _optional_map(reader)
    return unreadable(class_name, f"Kryo({shown})")


SNAPSHOTS: dict[str, _Parse] = {
    "ListSerializerSnapshot": _list,
    "SetSerializerSnapshot": _list,
    "ArrayListSerializerSnapshot": _list,
    "MapSerializerSnapshot": _map,
    "NullAwareMapSerializerSnapshot": _null_aware_map,
    "ListViewSerializerSnapshot": _view_of_list,
    "MapViewSerializerSnapshot": _view_of_map,
    "TupleSerializerSnapshot": _tuple,
    "RowSerializerSnapshot": _row,
    "NullableSerializerSnapshot": _nullable,
    "GenericArraySerializerSnapshot": _object_array,
    "JavaEitherSerializerSnapshot": _either,
    "TtlSerializerSnapshot": _ttl,
    "TtlAwareSerializerSnapshot": _ttl_aware,
    "TimerSerializerSnapshot": _timer,
    "WindowKeySerializerSnapshot": _window_key,
    "LinkedListSerializerSnapshot": _linked_list,
    "BufferEntrySerializerSnapshot": _buffer_entry,
    "RawValueDataSerializerSnapshot": _raw_value,
    "ExternalSerializerSnapshot": _external,
    "EnumSerializerSnapshot": _enum,
    "DecimalSerializerSnapshot": _decimal_data,
    "TimestampDataSerializerSnapshot": _timestamp_data,
    "RowDataSerializerSnapshot": _row_data,
    "BinaryRowDataSerializerSnapshot": _binary_row,
    "ArrayDataSerializerSnapshot": _array_data,
    "MapDataSerializerSnapshot": _map_data,
    "SortedMapSerializerSnapshot": _sorted_map,
    "PojoSerializerSnapshot": _pojo,
    "KryoSerializerSnapshot": _kryo,
}
