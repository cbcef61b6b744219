"""Open a keyed handle: find out which backend wrote it, and give its snapshot when its rows can be read.

What can be read: canonical savepoints of every backend, SlimBase's files, full snapshots of hashmap and rocksdb. Of incremental RocksDB
and ForSt snapshots only the head (states and serializers) can: their rows are in SST files. Of changelogs nothing can but their size.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.core.errors import Unsupported
from headrace.state.canonical import CanonicalSnapshot
from headrace.state.cells import Snapshot
from headrace.state.handles import ChangelogHandle, IncrementalHandle, KeyedHandle
from headrace.state.heap import HeapSnapshot, is_heap_layout
from headrace.state.metadata import OperatorState
from headrace.state.proxy import KeyedHead, read_head
from headrace.state.slimstate import SlimSnapshot, checked_meta, is_slimbase, read_manifest
from headrace.state.storage import Storage

CANONICAL, SLIMBASE, HASHMAP = "canonical", "slimbase", "hashmap"
ROCKSDB_FULL, ROCKSDB, CHANGELOG = "rocksdb, full", "rocksdb or forst", "changelog"
TAKE_CANONICAL = "take a canonical savepoint: `flink savepoint --type canonical JOB DIR`"


@dataclass(frozen=True, slots=True)
class OpenedHandle:
    """One handle of one subtask.

    Args:
        backend: who wrote it and how, one of this module's names.
        head: states and serializers; None of a changelog.
        snapshot: reads the rows; None when they cannot be read.
    """

    subtask: int
    handle: KeyedHandle
    backend: str
    head: KeyedHead | None
    snapshot: Snapshot | None

    def rows(self) -> Snapshot:
        """The snapshot.

        Raises:
            Unsupported: rows of this backend cannot be read.
        """
        if self.snapshot is None:
            raise Unsupported(f"rows of a native {self.backend} checkpoint cannot be read", hint=TAKE_CANONICAL)
        return self.snapshot


def open_operator(storage: Storage, operator: OperatorState) -> list[OpenedHandle]:
    """Open all keyed handles of an operator, by subtask."""
    return [
        open_handle(storage, handle, subtask.index, max_parallelism=operator.max_parallelism)
        for subtask in sorted(operator.subtasks, key=lambda subtask: subtask.index)
        for handle in subtask.keyed
    ]


def open_handle(storage: Storage, handle: KeyedHandle, subtask: int, *, max_parallelism: int) -> OpenedHandle:
    """Open one handle.

    Raises:
        Corrupt, NotFound, Unsupported: its meta stream cannot be read.
    """
    if isinstance(handle, ChangelogHandle):
        return OpenedHandle(subtask, handle, CHANGELOG, None, None)
    if isinstance(handle, IncrementalHandle):
        return _incremental(storage, handle, subtask)
    if handle.stream is None:
        return OpenedHandle(subtask, handle, CANONICAL, None, None)
    reader = storage.open(handle.stream)
    head = read_head(reader)
    if not handle.is_savepoint and is_heap_layout(handle, reader):
        return OpenedHandle(subtask, handle, HASHMAP, head, HeapSnapshot(handle, reader, head))
    backend = CANONICAL if handle.is_savepoint else ROCKSDB_FULL
    snapshot = CanonicalSnapshot(handle, reader, head, max_parallelism=max_parallelism)
    return OpenedHandle(subtask, handle, backend, head, snapshot)


def _incremental(storage: Storage, handle: IncrementalHandle, subtask: int) -> OpenedHandle:
    if handle.meta is None:
        return OpenedHandle(subtask, handle, ROCKSDB, None, None)
    reader = storage.open(handle.meta)
    if not is_slimbase(handle):
        return OpenedHandle(subtask, handle, ROCKSDB, read_head(reader), None)
    meta = checked_meta(reader)
    head = read_head(meta)
    snapshot = SlimSnapshot(handle, head, read_manifest(meta), lambda file: storage.open(file.stream))
    return OpenedHandle(subtask, handle, SLIMBASE, head, snapshot)
