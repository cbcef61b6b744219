"""State handles: where the bytes of a checkpoint are, as `_metadata` says it.

A stream handle is a file, a part of a file (file merging), or the bytes themselves. A keyed handle covers a range of key groups: with one
stream and an offset per key group (full snapshots and canonical savepoints), or with named files (incremental: RocksDB, ForSt, SlimBase),
or it is a changelog. Codes and fields are those of Flink 2.3's `MetadataV2V3SerializerBase`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from headrace.state.javadata import DataReader

_NULL, _BYTES, _FILE, _KEY_GROUPS, _PARTITIONABLE, _INCREMENTAL, _RELATIVE, _SAVEPOINT = range(8)
_CHANGELOG, _CHANGELOG_BYTES, _CHANGELOG_FILES, _INCREMENTAL_V2, _KEY_GROUPS_V2 = range(8, 13)
_CHANGELOG_FILES_V2, _CHANGELOG_V2, _SEGMENT, _EMPTY_SEGMENT, _SEGMENT_PARTITIONABLE = range(13, 18)
KEY_GROUPS_MAX = 1 << 15  # Flink's upper bound of the maximum parallelism
DISTRIBUTION_MODES = ("split", "union", "broadcast")


class Stream(msgspec.Struct, frozen=True):
    """Bytes: in `data`, or `size_bytes` at `start` of the file `path` (relative to the checkpoint's folder when `relative`)."""

    size_bytes: int
    path: str = ""
    start: int = 0
    relative: bool = False
    data: bytes | None = None

    @property
    def name(self) -> str:
        """The file's name, or `(in _metadata)`."""
        return self.path.rpartition("/")[2] if self.data is None else "(in _metadata)"


class NamedStream(msgspec.Struct, frozen=True):
    """One file of an incremental handle, by the name it has for the backend."""

    name: str
    stream: Stream


class KeyGroupsHandle(msgspec.Struct, frozen=True, tag=True):
    """A full snapshot: one stream, and where in it each key group begins (0: the key group is empty)."""

    first_key_group: int
    offsets: tuple[int, ...]
    stream: Stream | None
    is_savepoint: bool

    @property
    def key_groups(self) -> range:
        """The key groups of this handle."""
        return range(self.first_key_group, self.first_key_group + len(self.offsets))


class IncrementalHandle(msgspec.Struct, frozen=True, tag=True):
    """A snapshot as files: a meta stream, files shared between checkpoints, files of this one."""

    checkpoint_id: int
    backend_id: str
    first_key_group: int
    key_group_count: int
    meta: Stream | None
    shared: tuple[NamedStream, ...]
    private: tuple[NamedStream, ...]

    @property
    def key_groups(self) -> range:
        """The key groups of this handle."""
        return range(self.first_key_group, self.first_key_group + self.key_group_count)


class ChangelogHandle(msgspec.Struct, frozen=True, tag=True):
    """A changelog: materialised handles and changes since. Its bytes are counted, its rows are not read."""

    first_key_group: int
    key_group_count: int
    size_bytes: int

    @property
    def key_groups(self) -> range:
        """The key groups of this handle."""
        return range(self.first_key_group, self.first_key_group + self.key_group_count)


KeyedHandle = KeyGroupsHandle | IncrementalHandle | ChangelogHandle


class PartitionedState(msgspec.Struct, frozen=True):
    """One operator state in a stream: its name, how it is given to subtasks, its number of partitions."""

    name: str
    mode: str
    partitions: int


class OperatorStateHandle(msgspec.Struct, frozen=True):
    """The operator states of one subtask (not keyed)."""

    states: tuple[PartitionedState, ...]
    stream: Stream | None


def read_stream(reader: DataReader) -> Stream | None:
    """Read a stream handle; None where there is none or an empty merged file."""
    code = reader.u8()
    method = _STREAMS.get(code)
    if method is None:
        raise reader.corrupt("unknown kind of stream handle", code=code)
    return method(reader)


def _bytes_stream(reader: DataReader) -> Stream:
    reader.utf()
    data = reader.block()
    return Stream(len(data), data=data)


def _file_stream(reader: DataReader) -> Stream:
    size = reader.i64()
    return Stream(size, reader.utf())


def _relative_stream(reader: DataReader) -> Stream:
    path = reader.utf()
    return Stream(reader.i64(), path, relative=True)


def _segment_stream(reader: DataReader) -> Stream:
    start, size = reader.i64(), reader.i64()
    reader.i32()  # scope: shared or exclusive
    path = reader.utf()
    reader.utf()  # logical file
    return Stream(size, path, start)


def _key_groups_stream(reader: DataReader) -> Stream | None:
    _offsets(reader)
    return read_stream(reader)


_STREAMS: dict[int, Callable[[DataReader], Stream | None]] = {
    _NULL: lambda _: None,
    _BYTES: _bytes_stream,
    _FILE: _file_stream,
    _KEY_GROUPS: _key_groups_stream,
    _RELATIVE: _relative_stream,
    _SEGMENT: _segment_stream,
    _EMPTY_SEGMENT: lambda _: None,
}


def read_keyed_handle(reader: DataReader) -> KeyedHandle | None:
    """Read a handle of keyed state; None where there is none."""
    code = reader.u8()
    if code == _NULL:
        return None
    method = _KEYED.get(code)
    if method is None:
        raise reader.corrupt("unknown kind of keyed state handle", code=code)
    return method(reader, code)


def _range(reader: DataReader) -> tuple[int, int]:
    """First key group and number of key groups."""
    first, count = reader.i32(), reader.i32()
    if first < 0 or count < 0 or first + count > KEY_GROUPS_MAX:
        raise reader.corrupt("impossible range of key groups", first=first, count=count)
    return first, count


def _offsets(reader: DataReader) -> tuple[int, tuple[int, ...]]:
    first, count = _range(reader)
    return first, tuple(reader.i64() for _ in range(count))


def _key_groups(reader: DataReader, code: int) -> KeyGroupsHandle:
    first, offsets = _offsets(reader)
    stream = read_stream(reader)
    if code == _KEY_GROUPS_V2:
        reader.utf()
    return KeyGroupsHandle(first, offsets, stream, code == _SAVEPOINT)


def _incremental(reader: DataReader, code: int) -> IncrementalHandle:
    checkpoint_id, backend_id = reader.i64(), reader.utf()
    first, count = _range(reader)
    if code == _INCREMENTAL_V2:
        reader.i64()  # bytes of this checkpoint alone
    meta = read_stream(reader)
    shared, private = _named_streams(reader), _named_streams(reader)
    if code == _INCREMENTAL_V2:
        reader.utf()
    return IncrementalHandle(checkpoint_id, backend_id, first, count, meta, shared, private)


def _named_streams(reader: DataReader) -> tuple[NamedStream, ...]:
    found = []
    for _ in range(reader.count("files", bytes_each=3)):
        name, stream = reader.utf(), read_stream(reader)
        if stream is not None:
            found.append(NamedStream(name, stream))
    return tuple(found)


def _changelog(reader: DataReader, code: int) -> ChangelogHandle:
    first, count = _range(reader)
    reader.i64()  # bytes of this checkpoint alone
    base = [read_keyed_handle(reader) for _ in range(reader.count("materialised handles"))]
    delta = [read_keyed_handle(reader) for _ in range(reader.count("changes"))]
    reader.take(16 if code == _CHANGELOG_V2 else 8)  # materialisation id, checkpoint id
    reader.utf()
    return ChangelogHandle(first, count, sum(size_of(handle) for handle in (*base, *delta) if handle))


def _changelog_bytes(reader: DataReader, _code: int) -> ChangelogHandle:
    first, count = _range(reader)
    reader.take(16)  # from, to
    size = 0
    for _ in range(reader.count("changes", bytes_each=8)):
        reader.i32()
        size += len(reader.block())
    reader.utf()
    return ChangelogHandle(first, count, size)


def _changelog_files(reader: DataReader, code: int) -> ChangelogHandle:
    first, count = _range(reader)
    for _ in range(reader.count("files", bytes_each=9)):
        reader.i64()
        read_stream(reader)
    size = reader.i64()
    reader.i64()  # bytes of this checkpoint alone
    reader.utf()
    if code == _CHANGELOG_FILES_V2:
        reader.utf()
    return ChangelogHandle(first, count, size)


_KEYED: dict[int, Callable[[DataReader, int], KeyedHandle]] = {
    _KEY_GROUPS: _key_groups,
    _KEY_GROUPS_V2: _key_groups,
    _SAVEPOINT: _key_groups,
    _INCREMENTAL: _incremental,
    _INCREMENTAL_V2: _incremental,
    _CHANGELOG: _changelog,
    _CHANGELOG_V2: _changelog,
    _CHANGELOG_BYTES: _changelog_bytes,
    _CHANGELOG_FILES: _changelog_files,
    _CHANGELOG_FILES_V2: _changelog_files,
}


def streams_of(handle: KeyedHandle) -> list[Stream]:
    """All streams of a handle; none of a changelog."""
    if isinstance(handle, KeyGroupsHandle):
        return [handle.stream] if handle.stream else []
    if isinstance(handle, IncrementalHandle):
        files = [file.stream for file in (*handle.shared, *handle.private)]
        return [handle.meta, *files] if handle.meta else files
    return []


def size_of(handle: KeyedHandle) -> int:
    """Bytes that the handle refers to."""
    if isinstance(handle, ChangelogHandle):
        return handle.size_bytes
    return sum(stream.size_bytes for stream in streams_of(handle))


def read_operator_handle(reader: DataReader) -> OperatorStateHandle | None:
    """Read a handle of operator state; None where there is none."""
    code = reader.u8()
    if code == _NULL:
        return None
    if code not in {_PARTITIONABLE, _SEGMENT_PARTITIONABLE}:
        raise reader.corrupt("unknown kind of operator state handle", code=code)
    states = []
    for _ in range(reader.count("operator states", bytes_each=7)):
        name, mode = reader.utf(), reader.u8()
        partitions = reader.count("partitions", bytes_each=8)
        reader.take(8 * partitions)
        shown = DISTRIBUTION_MODES[mode] if mode < len(DISTRIBUTION_MODES) else str(mode)
        states.append(PartitionedState(name, shown, partitions))
    if code == _SEGMENT_PARTITIONABLE:
        reader.utf()
        reader.utf()
        reader.flag()
    return OperatorStateHandle(tuple(states), read_stream(reader))
