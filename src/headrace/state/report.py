"""What is in a checkpoint: operators, their states, keys, bytes, tombstones, TTL, serializers, skew by key group, files.

Counting keys means reading every value. Up to `COUNT_BYTES_MAX` of keyed state that is done; above it SlimBase's files say from their
footers how many entries they hold (a key is counted once per file it is in), other formats say nothing, and `--exact` counts anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from headrace.core.errors import HeadraceError, Unsupported
from headrace.state.codecs import Codec
from headrace.state.handles import Stream, size_of, streams_of
from headrace.state.metadata import Metadata, OperatorState, read_metadata
from headrace.state.opening import TAKE_CANONICAL, OpenedHandle, open_operator
from headrace.state.progress import ReadProgress, Tell
from headrace.state.proxy import StateMeta
from headrace.state.slimstate import SlimSnapshot
from headrace.state.storage import METADATA, Storage, find_checkpoint
from headrace.state.tally import Skew, Tally, skew_of

COUNT_BYTES_MAX = 16 << 20  # some 2 million small values, compressed; Python counts 30,000 to 100,000 a second


class Serializers(msgspec.Struct, frozen=True):
    """Names of a state's serializers; `unknown` has the classes that cannot be read."""

    key: str
    namespace: str
    value: str
    unknown: tuple[str, ...] = ()


class StateReport(msgspec.Struct, frozen=True):
    """One keyed state over all subtasks.

    Args:
        keys: different (key, namespace) pairs; timers for a queue. None when not counted.
        entries: values: more than keys for maps. Tombstones are not in it.
        keys_exact: False when a key may be counted once per file.
        size_bytes: of serialized keys and values.
        tombstones: removed keys that the files still say so about.
        ttl: whether values have a time to live.
        ttl_ms: how long, if the files say it.
    """

    name: str
    kind: str
    serializers: Serializers
    keys: int | None = None
    entries: int | None = None
    keys_exact: bool = True
    size_bytes: int | None = None
    tombstones: int = 0
    ttl: bool = False
    ttl_ms: int | None = None
    skew: Skew | None = None


class OperatorStateReport(msgspec.Struct, frozen=True):
    """One operator state (not keyed)."""

    name: str
    mode: str
    partitions: int


class OperatorReport(msgspec.Struct, frozen=True):
    """One operator that has state.

    Args:
        backend: who wrote the keyed state and how; empty without keyed state.
        readable: whether `headrace state query` can read its rows.
        size_bytes: of all its files and inline streams.
        note: why something is missing.
    """

    id: str
    uid: str
    name: str
    parallelism: int
    max_parallelism: int
    backend: str
    readable: bool
    subtasks: int
    files: int
    size_bytes: int
    channel_bytes: int
    coordinator_bytes: int
    states: tuple[StateReport, ...]
    operator_states: tuple[OperatorStateReport, ...]
    skew: Skew | None = None
    note: str = ""


class Inspection(msgspec.Struct, frozen=True):
    """One checkpoint or savepoint; operators without any state are only counted."""

    path: str
    kind: str
    format: str
    checkpoint_id: int
    metadata_version: int
    files: int
    size_bytes: int
    stateless_operators: int
    operators: tuple[OperatorReport, ...]


def load_checkpoint(path: Path) -> tuple[Storage, Metadata]:
    """Find a checkpoint and read its metadata.

    Raises:
        NotFound, Corrupt, Unsupported: there is none that can be read.
    """
    storage = Storage(find_checkpoint(path))
    return storage, read_metadata(storage.metadata(), place=str(storage.folder / METADATA))


def inspect_checkpoint(path: Path, *, exact: bool = False, tell: Tell | None = None) -> Inspection:
    """Report what a checkpoint or savepoint holds.

    Args:
        path: its folder, or a job's checkpoint folder (then the newest).
        exact: count keys however large the state is.
        tell: hears how many bytes of keyed state are counted, of how many.

    Raises:
        NotFound, Corrupt, Unsupported: it cannot be read.
    """
    storage, metadata = load_checkpoint(path)
    keyed_bytes = sum(
        size_of(handle) for operator in metadata.operators for sub in operator.subtasks for handle in sub.keyed
    )
    counted = exact or keyed_bytes <= COUNT_BYTES_MAX
    progress = ReadProgress(keyed_bytes, tell)
    reports = [_operator(storage, operator, progress, counted=counted) for operator in metadata.operators]
    stateful = tuple(report for report in reports if report.size_bytes or report.states or report.operator_states)
    streams = _different([stream for operator in metadata.operators for stream in _streams(operator)])
    return Inspection(
        path=str(storage.folder),
        kind=metadata.kind or "checkpoint",
        format=metadata.format,
        checkpoint_id=metadata.checkpoint_id,
        metadata_version=metadata.version,
        files=sum(1 for stream in streams if stream.data is None),
        size_bytes=sum(stream.size_bytes for stream in streams),
        stateless_operators=len(reports) - len(stateful),
        operators=stateful,
    )


def _streams(operator: OperatorState) -> list[Stream]:
    found: list[Stream] = []
    for subtask in operator.subtasks:
        for handle in (*subtask.keyed, *subtask.raw_keyed):
            found += streams_of(handle)
        found += [handle.stream for handle in subtask.operator if handle.stream]
    return found


def _different(streams: Iterable[Stream]) -> list[Stream]:
    """Each file part once: subtasks may share files."""
    return list({(stream.path, stream.start, stream.data): stream for stream in streams}.values())


def _operator(storage: Storage, operator: OperatorState, progress: ReadProgress, *, counted: bool) -> OperatorReport:
    opened = open_operator(storage, operator)
    streams = _different(_streams(operator))
    states, skew, note = _states(opened, operator.max_parallelism, progress, counted=counted)
    return OperatorReport(
        id=operator.id,
        uid=operator.uid,
        name=operator.name,
        parallelism=operator.parallelism,
        max_parallelism=operator.max_parallelism,
        backend=", ".join(sorted({one.backend for one in opened})),
        readable=bool(opened) and all(one.snapshot is not None for one in opened),
        subtasks=len([subtask for subtask in operator.subtasks if not subtask.finished]),
        files=sum(1 for stream in streams if stream.data is None),
        size_bytes=sum(stream.size_bytes for stream in streams) + operator.coordinator_bytes,
        channel_bytes=sum(subtask.channel_bytes for subtask in operator.subtasks),
        coordinator_bytes=operator.coordinator_bytes,
        states=states,
        operator_states=_operator_states(operator),
        skew=skew,
        note=note,
    )


def _operator_states(operator: OperatorState) -> tuple[OperatorStateReport, ...]:
    found: dict[str, OperatorStateReport] = {}
    for subtask in operator.subtasks:
        for handle in subtask.operator:
            for state in handle.states:
                before = found[state.name].partitions if state.name in found else 0
                found[state.name] = OperatorStateReport(state.name, state.mode, before + state.partitions)
    return tuple(found.values())


def _states(
    opened: Sequence[OpenedHandle], max_parallelism: int, progress: ReadProgress, *, counted: bool
) -> tuple[tuple[StateReport, ...], Skew | None, str]:
    """All states, the operator's skew, and why something is not known."""
    metas = {meta.name: (one, meta) for one in opened if one.head for meta in one.head.states}
    tally, note = Tally(), ""
    for one in opened:
        try:
            _tally(one, tally, progress, counted=counted)
        except Unsupported as error:
            note = str(error).replace("\nhint: ", "; ")
        except HeadraceError as error:
            raise error.with_context("state.inspect", subtask=one.subtask) from error
    if not counted and not note and not tally.by_state:
        note = f"not counted: more than {COUNT_BYTES_MAX >> 20} MiB of keyed state; `--exact` counts anyway"
    reports = tuple(_state(one, meta, tally, max_parallelism) for one, meta in metas.values())
    return reports, skew_of(tally.key_groups, max_parallelism), note


def _tally(one: OpenedHandle, tally: Tally, progress: ReadProgress, *, counted: bool) -> None:
    if isinstance(one.snapshot, SlimSnapshot):
        tally.add_files(one.snapshot, entries=not counted)
    if one.snapshot is None:
        raise Unsupported(f"rows of a native {one.backend} checkpoint cannot be read", hint=TAKE_CANONICAL)
    if counted:
        tally.add_cells(progress.watch(one.handle, one.snapshot.cells()))


def _state(one: OpenedHandle, meta: StateMeta, tally: Tally, max_parallelism: int) -> StateReport:
    assert one.head is not None
    counts = tally.by_state.get(meta.name)
    ttl_ms = _ttl_ms(one, meta)
    return StateReport(
        name=meta.name,
        kind=meta.kind,
        serializers=_serializers(one.head.key, meta),
        keys=counts.keys if counts else (0 if tally.is_complete else None),
        entries=counts.entries if counts else (0 if tally.is_complete else None),
        keys_exact=tally.is_complete,
        size_bytes=counts.size_bytes if counts else (0 if tally.is_complete else None),
        tombstones=counts.tombstones if counts else 0,
        ttl=meta.has_ttl or bool(ttl_ms),
        ttl_ms=ttl_ms,
        skew=skew_of(counts.key_groups, max_parallelism) if counts else None,
    )


def _ttl_ms(one: OpenedHandle, meta: StateMeta) -> int | None:
    if isinstance(one.snapshot, SlimSnapshot):
        return next((known.ttl_ms or None for known in one.snapshot.manifest.states if known.name == meta.name), None)
    return None


def _serializers(key: Codec, meta: StateMeta) -> Serializers:
    codecs = [meta.value] if meta.kind == "queue" else [key, meta.namespace, meta.value]
    unknown = tuple(codec.class_name for codec in codecs if not codec.is_readable)
    namespace = "" if meta.namespace.is_void else meta.namespace.name
    return Serializers("" if meta.kind == "queue" else key.name, namespace, meta.value.name, unknown)
