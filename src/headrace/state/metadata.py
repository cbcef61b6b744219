"""Read `_metadata`: which operators a checkpoint or savepoint holds, and the handles of their state.

Layout: int magic, int version, long checkpoint id, master states, operators; from version 4 the checkpoint's properties as a Java object
(they say whether it is a savepoint, and of which format), from version 5 each operator's name and uid. Versions 3 to 6 are read.
Source: flink-runtime 2.3 `checkpoint.metadata`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from headrace.core.errors import Corrupt, HeadraceError, Unsupported
from headrace.state.handles import (
    KEY_GROUPS_MAX,
    KeyedHandle,
    OperatorStateHandle,
    read_keyed_handle,
    read_operator_handle,
    read_stream,
)
from headrace.state.javadata import Buffer, DataReader
from headrace.state.javaobjects import JavaEnum, JavaObject, read_java_object

MAGIC = 0x4960672D
MASTER_STATE_MAGIC = 0xC96B1696
VERSIONS = range(3, 7)
_CHANNEL_SINGLE, _CHANNEL_MERGED = {1, 2}, {3, 4}


class SubtaskState(msgspec.Struct, frozen=True):
    """The handles of one subtask."""

    index: int
    finished: bool = False
    operator: tuple[OperatorStateHandle, ...] = ()
    keyed: tuple[KeyedHandle, ...] = ()
    raw_keyed: tuple[KeyedHandle, ...] = ()
    channel_bytes: int = 0


class OperatorState(msgspec.Struct, frozen=True):
    """One operator: who it is and its subtasks' handles.

    Args:
        id: 32 hex digits.
        uid: as set by `uid(...)`; empty when Flink made the id itself, or before metadata version 5.
        name: as shown in Flink's own pages; may be empty.
        coordinator_bytes: size of the operator coordinator's state.
    """

    id: str
    uid: str
    name: str
    parallelism: int
    max_parallelism: int
    coordinator_bytes: int
    subtasks: tuple[SubtaskState, ...]

    @property
    def title(self) -> str:
        """What people call it: uid, else name, else id."""
        return self.uid or self.name or self.id


class Metadata(msgspec.Struct, frozen=True):
    """All of `_metadata`.

    Args:
        kind: "checkpoint" or "savepoint"; "" when the properties do not say.
        format: "canonical" or "native" for savepoints, else "".
    """

    version: int
    checkpoint_id: int
    kind: str
    format: str
    operators: tuple[OperatorState, ...]


def read_metadata(data: Buffer, *, place: str) -> Metadata:
    """Read the bytes of a `_metadata` file.

    Raises:
        Corrupt: they are none, or end too early.
        Unsupported: written by a Flink older than 1.11 or newer than 2.3.
    """
    reader = DataReader(data, place=place)
    if reader.remaining < 8 or reader.i32() != MAGIC:
        raise Corrupt(
            "not a checkpoint's metadata", hint="give the folder that holds `_metadata`", context={"file": place}
        )
    version = reader.i32()
    if version not in VERSIONS:
        raise Unsupported(
            f"checkpoint metadata of version {version}",
            hint=f"versions {VERSIONS[0]} to {VERSIONS[-1]} (Flink 1.11 to 2.3) can be read",
            context={"file": place},
        )
    checkpoint_id = reader.i64()
    for _ in range(reader.count("master states", bytes_each=8)):
        if reader.i32() & 0xFFFFFFFF != MASTER_STATE_MAGIC:
            raise reader.corrupt("a master state does not begin as one")
        reader.block()
    count = reader.count("operators", bytes_each=28)
    operators = tuple(_operator(reader, version) for _ in range(count))
    kind, form = _properties(reader) if version >= 4 and reader.remaining else ("", "")
    return Metadata(version, checkpoint_id, kind, form, operators)


def _operator(reader: DataReader, version: int) -> OperatorState:
    name, uid = (reader.utf(), reader.utf()) if version >= 5 else ("", "")
    identity = reader.take(16).hex()
    parallelism, max_parallelism = reader.i32(), reader.i32()
    if not 0 <= max_parallelism <= KEY_GROUPS_MAX:
        raise reader.corrupt("impossible maximum parallelism", max_parallelism=max_parallelism)
    coordinator = read_stream(reader)
    count = reader.i32()
    if count > reader.remaining:
        raise reader.corrupt("impossible number of subtasks", count=count)
    subtasks = tuple(_subtask(reader, version) for _ in range(count))
    size = coordinator.size_bytes if coordinator else 0
    return OperatorState(identity, uid, name, parallelism, max_parallelism, size, subtasks)


def _subtask(reader: DataReader, version: int) -> SubtaskState:
    index = reader.i32()
    if index < 0:
        return SubtaskState(-index - 1, finished=True)
    managed = read_operator_handle(reader) if reader.i32() else None
    raw = read_operator_handle(reader) if reader.i32() else None
    keyed, raw_keyed = read_keyed_handle(reader), read_keyed_handle(reader)
    channel_bytes = sum(_channels(reader, version) for _ in range(2))
    return SubtaskState(
        index,
        operator=tuple(handle for handle in (managed, raw) if handle),
        keyed=(keyed,) if keyed else (),
        raw_keyed=(raw_keyed,) if raw_keyed else (),
        channel_bytes=channel_bytes,
    )


def _channels(reader: DataReader, version: int) -> int:
    """Walk over in-flight data of unaligned checkpoints; gives its bytes."""
    read: Callable[[DataReader], int] = _channel if version < 6 else _channel_of_kind
    return sum(read(reader) for _ in range(reader.count("channels", bytes_each=13)))


def _channel(reader: DataReader) -> int:
    reader.take(12)  # subtask, gate or partition, channel or subpartition
    reader.take(8 * reader.count("offsets", bytes_each=8))
    size = reader.i64()
    read_stream(reader)
    return size


def _channel_of_kind(reader: DataReader) -> int:
    kind = reader.u8()
    if kind in _CHANNEL_SINGLE:
        return _channel(reader)
    if kind not in _CHANNEL_MERGED:
        raise reader.corrupt("unknown kind of channel state", code=kind)
    reader.i32()  # subtask
    size = reader.i64()
    read_stream(reader)
    reader.block()
    return size


def _properties(reader: DataReader) -> tuple[str, str]:
    """Checkpoint or savepoint, and the format; empty when the object is not as expected, which harms nothing else."""
    try:
        tree = read_java_object(reader)
    except HeadraceError:
        return "", ""
    kind = tree.fields.get("checkpointType") if isinstance(tree, JavaObject) else None
    if not isinstance(kind, JavaObject):
        return "", ""
    if kind.simple_name != "SavepointType":
        return "checkpoint", ""
    form = kind.fields.get("formatType")
    return "savepoint", form.constant.lower() if isinstance(form, JavaEnum) else ""
