"""Read native snapshots of the hashmap backend.

Each key group begins at its offset with its number (int), then per state: u16 state number, int count, and per entry namespace, key,
state, each as its serializer writes it; of a queue the elements. With compression each state is a framed Snappy stream of its own. Nothing
has a length, so one serializer that is not known ends the reading of its key group.
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.core.errors import Unsupported
from headrace.state.canonical import key_group_readers
from headrace.state.cells import Cell
from headrace.state.codecs import Codec, required
from headrace.state.compression import unframe_snappy
from headrace.state.handles import KeyGroupsHandle
from headrace.state.javadata import DataReader
from headrace.state.proxy import KeyedHead, StateMeta


def is_heap_layout(handle: KeyGroupsHandle, reader: DataReader) -> bool:
    """Whether each key group begins with its own number, which full RocksDB snapshots do not."""
    checked = 0
    for key_group, part in key_group_readers(handle, reader):
        if part.remaining < 4 or part.i32() != key_group:
            return False
        checked += 1
    return checked == len(handle.offsets)


class HeapSnapshot:
    """One handle's stream; the reader stands behind the head."""

    def __init__(self, handle: KeyGroupsHandle, reader: DataReader, head: KeyedHead) -> None:
        self.head = head
        self._handle = handle
        self._reader = reader

    def cells(self, state: str | None = None) -> Iterator[Cell]:
        """All cells, or those of one state.

        Raises:
            Unsupported: a serializer is not known, and what follows cannot be found.
        """
        for key_group, reader in key_group_readers(self._handle, self._reader):
            reader.take(4)
            content = DataReader(unframe_snappy(reader), place=reader.place) if self.head.compressed else reader
            while content.remaining:
                meta = self._state(content)
                for cell in self._entries(meta, key_group, content):
                    if state is None or meta.name == state:
                        yield cell

    def _state(self, reader: DataReader) -> StateMeta:
        number = reader.u16()
        if number >= len(self.head.states):
            raise reader.corrupt("a key group has a state that the head does not name", state_number=number)
        return self.head.states[number]

    def _entries(self, state: StateMeta, key_group: int, reader: DataReader) -> Iterator[Cell]:
        for codec in (self.head.key, state.namespace, state.value):
            if codec.read is None:
                raise Unsupported(
                    f"state {state.name} has a serializer that is not known: {codec.class_name}",
                    hint="take a canonical savepoint: in it every value has its length",
                    context={"file": reader.place},
                )
        for _ in range(reader.count("entries")):
            if state.kind == "queue":
                yield Cell(state, key_group, _raw(reader, state.value), b"", None, b"")
                continue
            namespace, key = _raw(reader, state.namespace), _raw(reader, self.head.key)
            namespace = b"" if state.namespace.is_void else namespace
            for map_key, value in _values(state, reader):
                yield Cell(state, key_group, key, namespace, map_key, value)


def _raw(reader: DataReader, codec: Codec) -> bytes:
    start = reader.position
    required(codec)(reader)
    return bytes(reader.data[start : reader.position])


def _values(state: StateMeta, reader: DataReader) -> Iterator[tuple[bytes | None, bytes]]:
    """The state's value or values in canonical form."""
    if state.kind == "map" and len(state.value.parts) == 2:
        for _ in range(reader.count("entries")):
            map_key, null = _raw(reader, state.map_key), reader.take(1)
            yield map_key, null + (b"" if null[0] else _raw(reader, state.element))
    elif state.kind == "list" and state.value.parts:
        yield None, b",".join([_raw(reader, state.element) for _ in range(reader.count("elements"))])
    else:
        yield None, _raw(reader, state.value)
