"""Read full snapshots in Flink's canonical form: one layout for all backends (FLIP-41), written by savepoints and by full RocksDB checkpoints.

After the head each key group begins at its offset: u16 state number, then pairs of byte arrays (composite key, value). The top bit of a
key's first byte says that a state number follows; 0xFFFF ends the key group. With compression each key group is a framed Snappy stream.
The composite key begins with the key group in one byte, or two when there are more than 128 key groups.
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.state.cells import Cell, split_key
from headrace.state.compression import unframe_snappy
from headrace.state.handles import KeyGroupsHandle
from headrace.state.javadata import DataReader
from headrace.state.proxy import KeyedHead, StateMeta

END_OF_KEY_GROUP = 0xFFFF
META_FOLLOWS = 0x80
ONE_BYTE_KEY_GROUPS_MAX = 128


class CanonicalSnapshot:
    """One handle's stream; the reader stands behind the head."""

    def __init__(self, handle: KeyGroupsHandle, reader: DataReader, head: KeyedHead, *, max_parallelism: int) -> None:
        self.head = head
        self._handle = handle
        self._reader = reader
        self._prefix = 1 if max_parallelism <= ONE_BYTE_KEY_GROUPS_MAX else 2

    def cells(self, state: str | None = None) -> Iterator[Cell]:
        """All cells, or those of one state."""
        for key_group, reader in key_group_readers(self._handle, self._reader):
            content = DataReader(unframe_snappy(reader), place=reader.place) if self.head.compressed else reader
            for meta, key, value in self._pairs(content):
                if state is None or meta.name == state:
                    yield self._cell(meta, key_group, key, value, reader.place)

    def _pairs(self, reader: DataReader) -> Iterator[tuple[StateMeta, bytes, bytes]]:
        number = reader.u16()
        while number != END_OF_KEY_GROUP:
            if number >= len(self.head.states):
                raise reader.corrupt("a key group has a state that the head does not name", state_number=number)
            key, value = reader.block(), reader.block()
            if len(key) < self._prefix:
                raise reader.corrupt("a key is shorter than its key group", bytes=len(key))
            yield self.head.states[number], key[self._prefix :], value
            if key[0] & META_FOLLOWS:
                number = reader.u16()

    def _cell(self, state: StateMeta, key_group: int, key: bytes, value: bytes, place: str) -> Cell:
        if state.kind == "queue":
            return Cell(state, key_group, key, b"", None, value)
        key, namespace, rest = split_key(self.head, state, key, canonical=True, place=place)
        return Cell(state, key_group, key, namespace, rest if state.kind == "map" else None, value)


def key_group_readers(handle: KeyGroupsHandle, reader: DataReader) -> Iterator[tuple[int, DataReader]]:
    """A reader for each key group that has data, from its offset to the next one's."""
    assert handle.stream is not None
    base = reader.end - handle.stream.size_bytes  # offsets count from the stream's begin
    starts = sorted({offset for offset in handle.offsets if offset > 0})
    ends = dict(zip(starts, [*starts[1:], reader.end - base], strict=False))
    for key_group, offset in zip(handle.key_groups, handle.offsets, strict=True):
        if offset > 0:
            if base + ends[offset] > reader.end:
                raise reader.corrupt("a key group begins after the file's end", key_group=key_group)
            yield key_group, DataReader(reader.data, base + offset, base + ends[offset], place=reader.place)
