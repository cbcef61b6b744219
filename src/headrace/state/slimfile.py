"""Read SlimBase's segment files (`.slim`), as docs/concepts/slimbase-format.md lays them out.

The trailer at the end leads to the footer; before it, from version 2 on, lies a filter that only lookups need; the footer says where each block and each key group begins and what the file holds by state.
Blocks are read when entries are asked for, each checked against its checksum. Everything that does not fit is `Corrupt` with the file,
the block and both checksums; a newer version is `Unsupported`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from headrace.core.errors import Corrupt, Unsupported
from headrace.state.compression import crc32c, decompress_block
from headrace.state.javadata import DataReader

HEADER_MAGIC, FOOTER_MAGIC = b"SLIMBASE", b"SLIMFOOT"
VERSION = 3
VERSION_WITHOUT_TIMES = 2
VERSION_WITHOUT_FILTER = 1
FILTER_SPLIT_BLOCK_BLOOM = 1
RAW_BYTES_MAX = 1 << 30  # a block holds 4 KiB (8 or 32 in older files), or one entry; Java arrays end at 2 GiB
TOMBSTONE, CHAINED, AUX = 1, 2, 4
_HEADER = struct.Struct("<8sHHI")
_BLOCK = struct.Struct("<IIB3sI")
_BLOCK_ROW = struct.Struct("<QQHH")
_FILTER = struct.Struct("<III")
_TRAILER = struct.Struct("<QIIII8s")
_EXTENT = struct.Struct("<HHIII")
_STATE = struct.Struct("<HHIQQ")
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a key group begins: block, offset in the raw block, number of entries."""

    key_group: int
    block: int
    offset: int
    entries: int


@dataclass(frozen=True, slots=True)
class StateCount:
    """What a file holds of one state: `entries` include the tombstones; bytes are raw."""

    state_id: int
    aux: bool
    tombstones: int
    entries: int
    raw_bytes: int


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One entry: a whole value, a tombstone, or (chained) what continues the value before it."""

    flags: int
    state_id: int
    key: bytes
    value: bytes


class SegmentReader:
    """One segment file."""

    def __init__(self, reader: DataReader) -> None:
        self._reader = reader
        self._start = reader.position
        self._cached: tuple[int, bytes] = (-1, b"")
        self.blocks: list[int] = []
        self.extents: list[Extent] = []
        self.states: list[StateCount] = []
        self.segment_number = 0
        self._open()

    @property
    def place(self) -> str:
        """The file's path."""
        return self._reader.place

    @property
    def size_bytes(self) -> int:
        """The whole file's bytes."""
        return self._reader.end - self._start

    def _corrupt(self, message: str, **context: object) -> Corrupt:
        return Corrupt(message, context={"file": self.place, **context})

    def _part(self, offset: int, count: int) -> bytes:
        start = self._start + offset
        if offset < 0 or count < 0 or start + count > self._reader.end:
            raise self._corrupt("a part lies outside the file", offset=offset, bytes=count)
        return bytes(self._reader.data[start : start + count])

    def _open(self) -> None:
        size = self._reader.end - self._start
        if size < _HEADER.size + _TRAILER.size:
            raise self._corrupt("too short for a SlimBase file", bytes=size)
        magic, version, _, _ = _HEADER.unpack(self._part(0, _HEADER.size))
        if magic != HEADER_MAGIC:
            raise self._corrupt("not a SlimBase file", magic=magic.hex())
        footer_at, length, stored, trailer_version, filter_bytes, end_magic = _TRAILER.unpack(
            self._part(size - _TRAILER.size, _TRAILER.size)
        )
        if end_magic != FOOTER_MAGIC:
            raise self._corrupt("a SlimBase file is cut off: it does not end as one", magic=end_magic.hex())
        if version != trailer_version or version < 1:
            raise self._corrupt("versions of header and trailer do not fit", header=version, trailer=trailer_version)
        if version > VERSION:
            raise Unsupported(
                f"SlimBase file of version {version}",
                hint="read it with a newer Headrace",
                context={"file": self.place},
            )
        footer = self._part(footer_at, length)
        computed = crc32c(footer)
        if computed != stored:
            raise self._corrupt("the footer's checksum does not fit", stored=hex(stored), computed=hex(computed))
        self._footer(footer, version, self._part(footer_at - filter_bytes, filter_bytes))

    def _footer(self, footer: bytes, version: int, key_filter: bytes) -> None:
        try:
            at = self._index(footer, version)
            (count,) = _U32.unpack_from(footer, at)
            row = _STATE.size if version <= VERSION_WITHOUT_TIMES else _STATE.size + _U64.size
            for place in range(at + 4, at + 4 + row * count, row):
                state_id, aux, tombstones, entries, raw_bytes = _STATE.unpack_from(footer, place)
                self.states.append(StateCount(state_id, bool(aux), tombstones, entries, raw_bytes))
            at += 4 + row * count
            if version > VERSION_WITHOUT_FILTER:
                self._check_filter(key_filter, *_FILTER.unpack_from(footer, at))
                at += _FILTER.size
            elif key_filter:
                raise self._corrupt("a file of version 1 has a filter", bytes=len(key_filter))
            (self.segment_number,) = _U64.unpack_from(footer, at)
        except struct.error as error:
            raise self._corrupt("the footer ends too early", bytes=len(footer)) from error

    def _check_filter(self, key_filter: bytes, kind: int, length: int, stored: int) -> None:
        """Nothing here looks keys up by the filter, but damage is found where it is."""
        if length != len(key_filter) or kind != (FILTER_SPLIT_BLOCK_BLOOM if length else 0):
            raise self._corrupt("the filter does not fit", kind=kind, footer=length, trailer=len(key_filter))
        computed = crc32c(key_filter)
        if computed != stored:
            raise self._corrupt("the filter's checksum does not fit", stored=hex(stored), computed=hex(computed))

    def _index(self, footer: bytes, version: int) -> int:
        """Blocks and extents; gives where the states begin."""
        count = int(_U32.unpack_from(footer, 0)[0])
        row = _U64 if version == VERSION_WITHOUT_FILTER else _BLOCK_ROW
        self.blocks = [row.unpack_from(footer, place)[0] for place in range(4, 4 + row.size * count, row.size)]
        at = 4 + row.size * count
        count = int(_U32.unpack_from(footer, at)[0])
        at += 4
        for place in range(at, at + _EXTENT.size * count, _EXTENT.size):
            key_group, _, block, offset, entries = _EXTENT.unpack_from(footer, place)
            self.extents.append(Extent(key_group, block, offset, entries))
        return at + _EXTENT.size * count

    def block(self, index: int) -> bytes:
        """A block's raw bytes, checked.

        Raises:
            Corrupt: its checksum, length or content does not fit.
        """
        if index == self._cached[0]:
            return self._cached[1]
        if not 0 <= index < len(self.blocks):
            raise self._corrupt("a file has no such block", block=index)
        offset = self.blocks[index]
        head = self._part(offset, _BLOCK.size)
        raw_length, stored_length, codec, _, stored = _BLOCK.unpack(head)
        body = self._part(offset + _BLOCK.size, stored_length)
        computed = crc32c(head[:12], body)
        if computed != stored:
            raise self._corrupt(
                "a block's checksum does not fit", block=index, stored=hex(stored), computed=hex(computed)
            )
        if raw_length > RAW_BYTES_MAX:
            raise self._corrupt("impossible length of a block", block=index, bytes=raw_length)
        try:
            raw = decompress_block(codec, body, raw_length, place=self.place)
        except ValueError as error:
            raise self._corrupt(f"a block cannot be decompressed: {error}", block=index) from error
        self._cached = (index, raw)
        return raw

    def entries(self, key_group: int) -> Iterator[FileEntry]:
        """The entries of one key group, in the file's order."""
        for extent in self.extents:
            if extent.key_group == key_group:
                yield from self._entries(extent)

    def _entries(self, extent: Extent) -> Iterator[FileEntry]:
        index, at = extent.block, extent.offset
        raw = self.block(index)
        for _ in range(extent.entries):
            while at >= len(raw):
                index, at = index + 1, 0
                raw = self.block(index)
            try:
                flags = raw[at]
                state_id, at = _varint(raw, at + 1)
                key_length, at = _varint(raw, at)
                value_length, at = _varint(raw, at)
            except IndexError:
                raise self._corrupt("an entry ends after its block", block=index) from None
            value_at, end = at + key_length, at + key_length + value_length
            if end > len(raw):
                raise self._corrupt("an entry ends after its block", block=index, end=end, bytes=len(raw))
            yield FileEntry(flags, state_id, raw[at:value_at], raw[value_at:end])
            at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends; the shortest form is the common one."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while byte >= 0x80 and shift <= 28:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift += 7
    return value, at + 1
