"""One stored value of keyed state as bytes, the same for every format, and how it becomes a row.

The readers of the formats (`canonical`, `heap`, `slimstate`) yield `Cell`s: key, namespace, a map's own key, value, each as the bytes of
its serializer. Values are in the canonical savepoint's form: a list's elements have `,` between them, a map's value begins with its null
flag, a timer is all key. `row_of` decodes a cell; what cannot be decoded becomes hex.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from headrace.core.errors import Corrupt, HeadraceError
from headrace.state.codecs import VARIABLE, Codec
from headrace.state.javadata import DataReader
from headrace.state.proxy import KeyedHead, StateMeta


@dataclass(frozen=True, slots=True)
class Cell:
    """One value: of a key, of a key's map entry, or one timer (`queue`: all of it is in `key`)."""

    state: StateMeta
    key_group: int
    key: bytes
    namespace: bytes
    map_key: bytes | None
    value: bytes

    @property
    def size_bytes(self) -> int:
        """Serialized bytes of all parts."""
        return len(self.key) + len(self.namespace) + len(self.map_key or b"") + len(self.value)


class Snapshot(Protocol):
    """The keyed state of one subtask in one format."""

    head: KeyedHead

    def cells(self, state: str | None = None) -> Iterator[Cell]:
        """All cells, or those of one state, by key group."""
        ...


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """A decoded cell.

    Args:
        namespace: of windows and the like; None without.
        map_key: of map states.
        timestamp: of timers, ms since the epoch.
        last_access: of values with TTL, ms since the epoch.
    """

    key_group: int
    key: Any
    value: Any = None
    namespace: Any = None
    map_key: Any = None
    timestamp: int | None = None
    last_access: int | None = None


def row_of(head: KeyedHead, cell: Cell, place: str) -> Row:
    """Decode a cell.

    Raises:
        Corrupt: the bytes do not fit their serializer.
    """
    try:
        return _timer(cell, place) if cell.state.kind == "queue" else _row(head, cell, place)
    except HeadraceError as error:
        raise error.with_context("state.decode", state=cell.state.name, key_group=cell.key_group) from error
    except (ValueError, IndexError, OverflowError) as error:
        raise Corrupt(
            f"a value does not fit its serializer: {error}",
            context={"file": place, "state": cell.state.name, "key_group": cell.key_group},
        ) from error


def _row(head: KeyedHead, cell: Cell, place: str) -> Row:
    state = cell.state
    value, last_access = _value(state, cell.value, place)
    return Row(
        key_group=cell.key_group,
        key=decode(head.key, cell.key, place),
        value=value,
        namespace=decode(state.namespace, cell.namespace, place) if cell.namespace else None,
        map_key=None if cell.map_key is None else decode(state.map_key, cell.map_key, place),
        last_access=last_access,
    )


def _timer(cell: Cell, place: str) -> Row:
    timer = decode(cell.state.value, cell.key, place)
    if not isinstance(timer, dict):
        return Row(cell.key_group, timer)
    return Row(cell.key_group, timer.get("key"), namespace=timer.get("namespace"), timestamp=timer.get("timestamp"))


def decode(codec: Codec, data: bytes, place: str) -> Any:
    """A value's bytes decoded, or as hex when the serializer is not known.

    Raises:
        Corrupt: bytes are left over.
    """
    if codec.read is None:
        return data.hex()
    reader = DataReader(data, place=place)
    value = codec.read(reader)
    if reader.remaining:
        raise reader.corrupt("bytes are left after a value", serializer=codec.name)
    return value


def _value(state: StateMeta, data: bytes, place: str) -> tuple[Any, int | None]:
    """The value, and when it was last accessed if it has TTL."""
    element = state.element
    if element.read is None:
        return data.hex(), None
    reader = DataReader(data, place=place)
    if state.kind == "list":
        return _list(state, reader)
    if state.kind == "map" and reader.flag():
        return None, None
    value = element.read(reader)
    if reader.remaining:
        raise reader.corrupt("bytes are left after a value", serializer=element.name)
    return (value["value"], value["last_access"]) if state.has_ttl else (value, None)


def _list(state: StateMeta, reader: DataReader) -> tuple[list[Any], int | None]:
    read = state.element.read
    assert read is not None
    found: list[Any] = []
    while reader.remaining:
        found.append(read(reader))
        if reader.remaining:
            reader.take(1)
    if not state.has_ttl:
        return found, None
    accessed = [item["last_access"] for item in found]
    return [item["value"] for item in found], max(accessed, default=None)


def split_key(
    head: KeyedHead, state: StateMeta, data: bytes, *, canonical: bool, place: str
) -> tuple[bytes, bytes, bytes]:
    """Cut composite key bytes into key, namespace and rest (a map's own key).

    In canonical form a void namespace is one byte, and key and namespace are followed by their length when both are of variable length.
    In SlimBase's form a void namespace is nothing, no lengths are added, and there is no rest. Keys that cannot be read are not cut,
    unless they end where the namespace is known to begin.
    """
    void = state.namespace.is_void
    if void and not canonical:
        return data, b"", b""
    if void and state.kind != "map":
        return data[:-1], b"", b""
    if head.key.read is None or state.namespace.read is None:
        return data, b"", b""
    reader = DataReader(data, place=place)
    with_lengths = canonical and head.key.length == VARIABLE and state.namespace.length == VARIABLE
    key = _cut(reader, head.key, with_length=with_lengths)
    namespace = _cut(reader, state.namespace, with_length=with_lengths)
    return key, b"" if void else namespace, reader.take(reader.remaining)


def _cut(reader: DataReader, codec: Codec, *, with_length: bool) -> bytes:
    start = reader.position
    assert codec.read is not None
    codec.read(reader)
    data = bytes(reader.data[start : reader.position])
    if with_length:
        length = len(data)
        reader.take(max(1, (length.bit_length() + 7) // 8))
    return data
