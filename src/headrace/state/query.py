"""The rows of one state of one operator, decoded, and how they are chosen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from headrace.core.errors import Invalid, NotFound, nearest
from headrace.state.cells import Row, row_of
from headrace.state.handles import size_of
from headrace.state.metadata import OperatorState
from headrace.state.opening import OpenedHandle, open_operator
from headrace.state.progress import ReadProgress, Tell
from headrace.state.report import load_checkpoint

ID_PREFIX_MIN = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StateQuery:
    """A state that was found, ready to be read.

    Args:
        folder: of the checkpoint.
        unknown_serializers: classes whose values come as hex.
    """

    folder: Path
    operator: str
    state: str
    kind: str
    unknown_serializers: tuple[str, ...]
    handles: tuple[OpenedHandle, ...]

    def rows(self, key: str | None = None, *, tell: Tell | None = None) -> Iterator[Row]:
        """The state's rows by key group, or those of one key (see `matches_key`), read while they are taken.

        Args:
            key: as `matches_key` wants it.
            tell: hears how many bytes are done, of how many.

        Raises:
            Invalid: no key of this state's type can be meant by `key`.
            Unsupported: rows of this backend cannot be read.
            Corrupt: the files are damaged.
        """
        progress = ReadProgress(sum(size_of(one.handle) for one in self.handles), tell)
        is_checked = key is None
        for one in self.handles:
            snapshot = one.rows()
            for cell in progress.watch(one.handle, snapshot.cells(self.state)):
                row = row_of(snapshot.head, cell, f"subtask {one.subtask}")
                if key is None or matches_key(row.key, key):
                    yield row
                elif not is_checked:
                    check_key(key, row.key, snapshot.head.key.name)
                is_checked = True

    def records(self, key: str | None = None, *, limit: int = 0, tell: Tell | None = None) -> Iterator[dict[str, Any]]:
        """The rows as name to value; at most `limit`, 0 for all."""
        rows = self.rows(key, tell=tell)
        return (record_of(row, self.kind) for row in (islice(rows, limit) if limit else rows))


def find_state(path: Path, *, operator: str = "", state: str = "") -> StateQuery:
    """Find a state in a checkpoint.

    Args:
        path: a checkpoint's or savepoint's folder, or a job's checkpoint folder (then the newest).
        operator: its uid, name (or a part that only one has), or the first digits of its id; may be left out when there is only one.
        state: its name, or a part that only one has; may be left out when there is only one.

    Raises:
        Invalid: one that must be named was left out; names them.
        NotFound: no such operator or state; names the nearest.
        Corrupt, Unsupported: the checkpoint cannot be read.
    """
    storage, metadata = load_checkpoint(path)
    chosen = choose_operator(metadata.operators, operator)
    opened = open_operator(storage, chosen)
    found = _choose_state(opened, chosen, state)
    kind, unknown = _describe(opened, found)
    return StateQuery(storage.folder, chosen.title, found, kind, unknown, tuple(opened))


def choose_operator(operators: Sequence[OperatorState], wanted: str) -> OperatorState:
    """The operator that is meant: by uid, id, name, the first digits of an id, or a part of a name.

    Raises:
        NotFound: none, or several.
    """
    keyed = [operator for operator in operators if any(subtask.keyed for subtask in operator.subtasks)]
    if not wanted and keyed:
        return _only(keyed, [operator.title for operator in keyed], "--operator", "operators with keyed state")
    lower = wanted.lower()
    ways = (
        lambda operator: wanted in {operator.uid, operator.name},
        lambda operator: operator.id == lower,
        lambda operator: len(wanted) >= ID_PREFIX_MIN and operator.id.startswith(lower),
        lambda operator: lower in operator.name.lower() or lower in operator.uid.lower(),
    )
    for way in ways:
        found = [operator for operator in keyed if way(operator)]
        if len(found) == 1:
            return found[0]
        if found:
            raise NotFound(
                f"{len(found)} operators are called {wanted}",
                hint=f"give an id: {', '.join(f'{operator.id[:8]} ({operator.title})' for operator in found[:5])}",
            )
    names = [operator.title for operator in keyed]
    near = nearest(wanted, names) or names[:5]
    hint = f"operators with keyed state: {', '.join(near)}" if near else "no operator has keyed state"
    raise NotFound(f"no operator {wanted} with keyed state", hint=hint)


def _only(found: Sequence[T], names: Sequence[str], option: str, what: str) -> T:
    """The one that there is when none was asked for."""
    if len(found) == 1:
        return found[0]
    raise Invalid(f"which one? there are {len(found)} {what}", hint=f"give `{option}`: {', '.join(names[:8])}")


def _choose_state(opened: Sequence[OpenedHandle], operator: OperatorState, wanted: str) -> str:
    names = sorted({meta.name for one in opened if one.head for meta in one.head.states})
    if wanted in names:
        return wanted
    if not wanted and names:
        return _only(names, names, "--state", f"states of {operator.title}")
    parts = [name for name in names if wanted in name]
    if len(parts) == 1:
        return parts[0]
    near = parts or nearest(wanted, names) or names
    raise NotFound(f"operator {operator.title} has no state {wanted}", hint=f"its states: {', '.join(near[:8])}")


def _describe(opened: Sequence[OpenedHandle], state: str) -> tuple[str, tuple[str, ...]]:
    for one in opened:
        for meta in one.head.states if one.head else ():
            if meta.name == state and one.head:
                queue = meta.kind == "queue"
                codecs = [meta.value] if queue else [one.head.key, meta.namespace, meta.value]
                return meta.kind, tuple(codec.class_name for codec in codecs if not codec.is_readable)
    return "", ()


def matches_key(key: Any, wanted: str) -> bool:
    """Whether a decoded key is what a user typed.

    A plain key matches its text; a row or tuple its fields' texts with commas between them, or a JSON list or object; bytes their hex.
    """
    fields = list(key.values()) if isinstance(key, dict) else [key]
    texts = [text_of(value) for value in fields]
    if ",".join(texts) == wanted or ", ".join(texts) == wanted:
        return True
    try:
        typed = json.loads(wanted)
    except ValueError:
        return False
    if isinstance(typed, dict):
        return isinstance(key, dict) and {name: text_of(value) for name, value in key.items()} == {
            name: text_of(value) for name, value in typed.items()
        }
    return isinstance(typed, list) and [text_of(value) for value in typed] == texts


def check_key(wanted: str, known: Any, type_name: str) -> None:
    """Refuse what a user typed when no key of the type of `known` can match it, rather than look for it in vain.

    Raises:
        Invalid: another number of fields, or text where a number, truth value or hex is.
    """
    fields = list(known.values()) if isinstance(known, dict) else [known]
    try:
        typed = json.loads(wanted) if wanted.startswith(("[", "{")) else None
    except ValueError:
        typed = None
    if isinstance(typed, (dict, list)):
        texts = [text_of(value) for value in (typed.values() if isinstance(typed, dict) else typed)]
    else:
        texts = [wanted.strip()] if len(fields) == 1 else [text.strip() for text in wanted.split(",")]
    may_hold_commas = typed is None and any(isinstance(value, str) for value in fields)
    fits = len(texts) == len(fields) or (len(texts) > len(fields) and may_hold_commas)
    if fits and len(texts) == len(fields):
        fits = all(_may_be(text, value) for text, value in zip(texts, fields, strict=True))
    if not fits:
        raise Invalid(
            f"no key can be {wanted}: keys are of type {type_name}",
            hint=f"give it as it is printed, such as {key_text(known)}",
        )


def _may_be(text: str, known: Any) -> bool:
    """Whether a text can be a value of the type of `known`; only of types whose texts are told apart for sure."""
    if text == "null":
        return True
    if isinstance(known, bool):
        return text in {"true", "false"}
    if isinstance(known, int):
        return re.fullmatch(r"-?\d+", text) is not None
    if isinstance(known, bytes):
        return re.fullmatch(r"([0-9a-f]{2})*", text) is not None
    return True


def key_text(key: Any) -> str:
    """A key as it is printed and typed: fields with commas between."""
    return ",".join(text_of(value) for value in (key.values() if isinstance(key, dict) else [key]))


def text_of(value: Any) -> str:
    """A value as people read it: bytes as hex, rows and lists as JSON, null as `null`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (dict, list)):
        return json.dumps(plain(value), ensure_ascii=False)
    return str(value)


def plain(value: Any) -> Any:
    """A value of nothing but JSON's types: bytes become hex, decimals and times text."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def record_of(row: Row, kind: str) -> dict[str, Any]:
    """A row as name to value; only the columns that its kind of state has."""
    record: dict[str, Any] = {"key_group": row.key_group, "key": row.key}
    if row.namespace is not None:
        record["namespace"] = row.namespace
    if kind == "queue":
        return record | {"timestamp": row.timestamp}
    if kind == "map":
        record["map_key"] = row.map_key
    record["value"] = row.value
    if row.last_access is not None:
        record["last_access"] = row.last_access
    return record
