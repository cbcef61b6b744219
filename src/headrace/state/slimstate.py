"""Read the keyed state of one subtask from SlimBase's files: the manifest, then files merged by key group.

Files are applied in the manifest's order, later ones win. Within a key group's merge each key has the pieces of its value: a whole value
starts anew, a chained one is added, a tombstone removes. Lists are joined from their blocks, maps from their root and pages, so that
what comes out is in canonical form (`cells`). Only one key group is held in memory at a time.

The meta stream ends with a checksum over all of it. `checked_meta` compares it before anything is read: what the stream describes decides
how everything else is read. The files have their own checksums (`slimfile`), and their sizes and segment numbers are those of the manifest.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

import msgspec

from headrace.core.errors import Corrupt, NotFound, Unsupported
from headrace.state.cells import Cell, split_key
from headrace.state.compression import crc32c
from headrace.state.handles import IncrementalHandle, NamedStream
from headrace.state.javadata import DataReader
from headrace.state.proxy import KeyedHead, StateMeta
from headrace.state.slimfile import AUX, CHAINED, TOMBSTONE, SegmentReader

MANIFEST_MAGIC = 0x534C4D4D
MANIFEST_VERSION = 3  # 2 had no maps whose roots list removed keys
# Its rows do not say what a file's index takes in memory.
MANIFEST_VERSION_WITHOUT_INDEX = 1
TIMERS = "timers"
FILE_ENDING = ".slim"
CHECKSUM_BYTES = 4
KINDS = ("value", "list", "map", "reducing", "aggregating", "queue")
_ROOT, _PAGED, _PAGE = struct.Struct("<BBHI"), struct.Struct("<II"), struct.Struct("<II")
_PAGE_REFERENCE = struct.Struct("<IIHH")
_LIST_BLOCK = struct.Struct("<II")
_Identity = tuple[int, bool, bytes]


class ManifestState(msgspec.Struct, frozen=True):
    """One state: its name, its number in the files, its kind, its TTL in ms (0: none)."""

    name: str
    state_id: int
    kind: str
    ttl_ms: int


class ManifestFile(msgspec.Struct, frozen=True):
    """One file: its name, segment number, bytes, and the key groups for which it counts (after a rescale files are shared)."""

    name: str
    segment_number: int
    size_bytes: int
    first_key_group: int
    last_key_group: int

    def covers(self, key_group: int) -> bool:
        """Whether the file counts for a key group."""
        return self.first_key_group <= key_group <= self.last_key_group


class Manifest(msgspec.Struct, frozen=True):
    """What the meta stream says after the head."""

    states: tuple[ManifestState, ...]
    files: tuple[ManifestFile, ...]


def is_slimbase(handle: IncrementalHandle) -> bool:
    """Whether SlimBase wrote a handle: by the names of its files, so that damage to the meta stream cannot hide it.

    A handle without files is SlimBase's too: RocksDB and ForSt always have some.
    """
    return all(file.name == TIMERS or file.name.endswith(FILE_ENDING) for file in (*handle.shared, *handle.private))


def checked_meta(reader: DataReader) -> DataReader:
    """The meta stream without the checksum at its end, which has been compared.

    Raises:
        Corrupt: it does not fit; names the file and both checksums.
    """
    if reader.remaining < CHECKSUM_BYTES:
        raise reader.corrupt("the meta file is cut off", bytes=reader.remaining)
    end = reader.end - CHECKSUM_BYTES
    stored = int.from_bytes(reader.data[end : reader.end], "big")
    computed = crc32c(bytes(reader.data[reader.position : end]))
    if computed != stored:
        raise Corrupt(
            "the meta file's checksum does not fit",
            hint="use an older checkpoint",
            context={"file": reader.place, "block": "meta", "stored": hex(stored), "computed": hex(computed)},
        )
    return DataReader(reader.data, reader.position, end, place=reader.place)


def read_manifest(reader: DataReader) -> Manifest:
    """Read the manifest that follows the head, up to the end of the checked meta stream.

    Raises:
        Corrupt: there is none, or it ends too early or too late.
        Unsupported: of a newer version.
    """
    magic = reader.i32()
    if magic != MANIFEST_MAGIC:
        raise reader.corrupt("the manifest is missing", magic=hex(magic))
    version = reader.i32()
    if version > MANIFEST_VERSION:
        raise Unsupported(
            f"SlimBase checkpoint of version {version}",
            hint="read it with a newer Headrace",
            context={"file": reader.place},
        )
    states = []
    for _ in range(reader.count("states", bytes_each=15)):
        name, state_id, kind, ttl_ms = reader.utf(), reader.i32(), reader.u8(), reader.i64()
        if kind >= len(KINDS):
            raise reader.corrupt("unknown kind of state", kind=kind)
        states.append(ManifestState(name, state_id, KINDS[kind], ttl_ms))
    files = []
    has_index = version > MANIFEST_VERSION_WITHOUT_INDEX
    for _ in range(reader.count("files", bytes_each=34 if has_index else 26)):
        name, number, size_bytes = reader.utf(), reader.i64(), reader.i64()
        if has_index:
            reader.i64()  # For the backend's memory; whoever reads the file whole does not care.
        files.append(ManifestFile(name, number, size_bytes, reader.i32(), reader.i32()))
    if reader.remaining:
        raise reader.corrupt("the manifest is followed by more", bytes=reader.remaining)
    return Manifest(tuple(states), tuple(files))


class SlimSnapshot:
    """The files of one handle."""

    def __init__(
        self,
        handle: IncrementalHandle,
        head: KeyedHead,
        manifest: Manifest,
        open_file: Callable[[NamedStream], DataReader],
    ) -> None:
        self.head = head
        self.manifest = manifest
        self._key_groups = handle.key_groups
        self._handle = handle
        self._open_file = open_file
        metas = {meta.name: meta for meta in head.states}
        self._states = {state.state_id: (state, metas.get(state.name) or _nameless(state)) for state in manifest.states}

    def files(self) -> list[tuple[ManifestFile, SegmentReader]]:
        """The files in the manifest's order, opened and their footers checked; a file may come twice, with two ranges.

        Raises:
            NotFound: the handle does not have a file of the manifest.
        """
        named = {file.name: file for file in (*self._handle.shared, *self._handle.private)}
        opened: dict[str, SegmentReader] = {}
        for file in self.manifest.files:
            if file.name not in named:
                raise NotFound(
                    f"the checkpoint's handle has no file {file.name}",
                    hint="the checkpoint is incomplete: take another one",
                )
            if file.name not in opened:
                opened[file.name] = _expected(file, SegmentReader(self._open_file(named[file.name])))
        found = [(file, opened[file.name]) for file in self.manifest.files]
        return found + [self._timers(file) for file in self._handle.private if file.name == TIMERS]

    def _timers(self, file: NamedStream) -> tuple[ManifestFile, SegmentReader]:
        """The file of the timers' queues: of this checkpoint alone, and not in the manifest."""
        groups = self._key_groups
        listed = ManifestFile(TIMERS, 0, file.stream.size_bytes, groups.start, groups.stop - 1)
        return listed, SegmentReader(self._open_file(file))

    def cells(self, state: str | None = None) -> Iterator[Cell]:
        """All cells, or those of one state."""
        wanted = {number for number, (known, _) in self._states.items() if state is None or known.name == state}
        files = self.files()
        for key_group in self._key_groups:
            merged = merge([reader for file, reader in files if file.covers(key_group)], key_group, wanted)
            for identity, pieces in merged.items():
                if not identity[1]:
                    yield from self._cells(key_group, identity, pieces, merged)

    def _cells(
        self, key_group: int, identity: _Identity, pieces: Sequence[bytes], merged: dict[_Identity, list[bytes]]
    ) -> Iterator[Cell]:
        state_id, _, raw = identity
        known, meta = self._states[state_id]
        place = f"files of state {known.name}"
        if known.kind == "queue":
            yield Cell(meta, key_group, raw, b"", None, b"")
            return
        key, namespace, _ = split_key(self.head, meta, raw, canonical=False, place=place)
        if known.kind == "list":
            yield Cell(meta, key_group, key, namespace, None, join_list(pieces, place))
        elif known.kind == "map":
            for map_key, value in map_entries(pieces[-1], lambda page: _page(merged, identity, page, place), place):
                yield Cell(meta, key_group, key, namespace, map_key, value)
        else:
            yield Cell(meta, key_group, key, namespace, None, pieces[-1])


def _expected(listed: ManifestFile, file: SegmentReader) -> SegmentReader:
    """The file, being the one that the manifest lists and not another whole one."""
    if (file.size_bytes, file.segment_number) != (listed.size_bytes, listed.segment_number):
        raise Corrupt(
            "a file is not the one that the manifest lists",
            context={
                "file": file.place,
                "bytes": file.size_bytes,
                "listed_bytes": listed.size_bytes,
                "segment": file.segment_number,
                "listed_segment": listed.segment_number,
            },
        )
    return file


def _nameless(state: ManifestState) -> StateMeta:
    return StateMeta(state.name, state.kind, {})


def merge(files: Sequence[SegmentReader], key_group: int, wanted: set[int]) -> dict[_Identity, list[bytes]]:
    """The live values of one key group by (state id, AUX, key bytes): the pieces of each, oldest first."""
    merged: dict[_Identity, list[bytes]] = {}
    for file in files:
        for entry in file.entries(key_group):
            if entry.state_id not in wanted:
                continue
            identity = (entry.state_id, bool(entry.flags & AUX), entry.key)
            if entry.flags & TOMBSTONE:
                merged.pop(identity, None)
            elif entry.flags & CHAINED:
                merged.setdefault(identity, []).append(entry.value)
            else:
                merged[identity] = [entry.value]
    return merged


def join_list(blocks: Sequence[bytes], place: str) -> bytes:
    """A list's blocks, oldest first, as elements with `,` between them."""
    parts = []
    for block in blocks:
        if len(block) < _LIST_BLOCK.size:
            raise Corrupt("a list's block is shorter than its head", context={"file": place, "bytes": len(block)})
        used, count = _LIST_BLOCK.unpack_from(block)
        if _LIST_BLOCK.size + used > len(block):
            raise Corrupt("a list's block is shorter than it says", context={"file": place, "bytes": len(block)})
        if count:
            parts.append(block[_LIST_BLOCK.size : _LIST_BLOCK.size + used])
    return b",".join(parts)


def map_entries(root: bytes, page: Callable[[int], bytes], place: str) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a map in the order of its keys: of its root when it is small, else of its pages."""
    try:
        kind, _, removed_bytes, count = _ROOT.unpack_from(root)
        if kind == 0:
            yield from _run(DataReader(root, _ROOT.size, place=place), count)
            return
        pages, _next = _PAGED.unpack_from(root, _ROOT.size)
        first = _ROOT.size + _PAGED.size
        references = [_PAGE_REFERENCE.unpack_from(root, first + index * _PAGE_REFERENCE.size) for index in range(pages)]
        _, separator_at, separator_length, _ = references[-1]
        removed = set(_keys(root, separator_at + separator_length, removed_bytes, place))
        for index, (number, _, _, _) in enumerate(references):
            content = page(number)
            _, held = _PAGE.unpack_from(content)
            for entry in _run(DataReader(content, _PAGE.size, place=place), held):
                if index or entry[0] not in removed:
                    yield entry
    except struct.error as error:
        raise Corrupt("a map ends too early", context={"file": place, "bytes": len(root)}) from error


def _keys(root: bytes, at: int, length: int, place: str) -> Iterator[bytes]:
    """The user keys that have left the first page of a map and are still in it, from behind the root's separators."""
    if at + length > len(root):
        raise Corrupt("a map's list of removed keys ends too early", context={"file": place, "bytes": len(root)})
    reader = DataReader(root, at, at + length, place=place)
    while reader.position < at + length:
        yield reader.take(reader.varint())


def _run(reader: DataReader, count: int) -> Iterator[tuple[bytes, bytes]]:
    for _ in range(count):
        key_length, value_length = reader.varint(), reader.varint()
        yield reader.take(key_length), reader.take(value_length)


def _page(merged: dict[_Identity, list[bytes]], root: _Identity, number: int, place: str) -> bytes:
    pieces = merged.get((root[0], True, root[2] + number.to_bytes(4, "little")))
    if pieces is None:
        raise Corrupt("a page of a map is missing", context={"file": place, "page": number})
    return pieces[-1]
