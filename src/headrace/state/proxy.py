"""Read the head of a keyed backend's snapshot: the key's serializer and every state's name, kind and serializers.

Layout (`KeyedBackendSerializationProxy` version 6): int version, flag compressed, key serializer's snapshot, short number of states, per
state: UTF name, int kind (ordinal), options (UTF pairs), serializers (UTF role, snapshot).

Snapshots have no length. After one of an unknown class the next role or state header is searched for; what was between is taken as that
snapshot's content, and the state's values stay bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from headrace.core.errors import Corrupt, Unsupported
from headrace.state.codecs import VOID_NAMESPACE, Codec, list_reader, map_reader, of_parts, unreadable
from headrace.state.javadata import DataReader
from headrace.state.serializers import UnknownSnapshot, read_serializer

VERSION = 6
STATES_MAX = 10_000
KEY, NAMESPACE, VALUE, USER_KEY = "KEY_SERIALIZER", "NAMESPACE_SERIALIZER", "VALUE_SERIALIZER", "USER_KEY_SERIALIZER"
KINDS = ("key-value", "operator", "broadcast", "queue", "key-value v2")
QUEUE_KIND, ASYNC_KIND = 3, 4
UNKNOWN_SPAN_MAX = 1 << 20
_ROLE = re.compile(rb"\x00[\x0e\x10\x13\x14](?:KEY|NAMESPACE|VALUE|USER_KEY)_SERIALIZER|ELEMENT_SERIALIZER")
_STATE = re.compile(
    rb"\x00\x00\x00[\x00-\x04]\x00\x00\x00.(?:\x00\x10KEYED_STATE_TYPE|\x00\x00\x00\x01\x00[\x10\x13\x14])", re.DOTALL
)


class StateMeta:
    """What the head says about one state.

    Args:
        kind: value, list, map, reducing, aggregating, or queue (timers).
        namespace: void for states outside windows.
        value: the state's serializer: of a list state that of the list, of a map state that of the map.
    """

    __slots__ = ("kind", "name", "namespace", "value")

    def __init__(self, name: str, kind: str, roles: dict[str, Codec]) -> None:
        self.name = name
        self.kind = kind
        self.namespace = roles.get(NAMESPACE, VOID_NAMESPACE)
        self.value = roles.get(VALUE, unreadable("none"))

    @property
    def element(self) -> Codec:
        """The serializer of one element: of a list, of a map's value, else of the value itself."""
        if self.kind == "list" and self.value.parts:
            return self.value.parts[0]
        if self.kind == "map" and len(self.value.parts) == 2:
            return self.value.parts[1]
        return self.value

    @property
    def map_key(self) -> Codec:
        """The serializer of a map state's own keys."""
        return self.value.parts[0] if len(self.value.parts) == 2 else unreadable(self.value.class_name)

    @property
    def has_ttl(self) -> bool:
        """Whether values carry the time of last access."""
        return self.element.name.startswith("Ttl(")


class KeyedHead:
    """The head of one keyed snapshot."""

    __slots__ = ("compressed", "key", "states")

    def __init__(self, *, compressed: bool, key: Codec, states: list[StateMeta]) -> None:
        self.compressed = compressed
        self.key = key
        self.states = states


def read_head(reader: DataReader) -> KeyedHead:
    """Read the head; the reader then stands behind it.

    Raises:
        Corrupt: it is none.
        Unsupported: an older version, or an unknown key serializer after which nothing could be found.
    """
    version = reader.i32()
    if version != VERSION:
        raise Unsupported(
            f"keyed state of version {version}",
            hint="restore it once with Flink 1.17 or later and take a new savepoint",
            context={"file": reader.place},
        )
    compressed = reader.flag()
    key = _searching(reader, _to_states)
    count = reader.i16()
    if not 0 <= count <= STATES_MAX:
        raise reader.corrupt("impossible number of states", count=count)
    return KeyedHead(compressed=compressed, key=key, states=[_state(reader) for _ in range(count)])


def _state(reader: DataReader) -> StateMeta:
    name, ordinal = reader.utf(), reader.i32()
    if not 0 <= ordinal < len(KINDS):
        raise reader.corrupt("unknown kind of state", ordinal=ordinal)
    options = {reader.utf(): reader.utf() for _ in range(reader.count("options", bytes_each=4))}
    roles = {}
    for _ in range(reader.count("serializers", bytes_each=2)):
        role = reader.utf()
        roles[role] = _searching(reader, _to_role_or_state)
    kind = "queue" if ordinal == QUEUE_KIND else options.get("KEYED_STATE_TYPE", KINDS[ordinal]).lower()
    if ordinal == ASYNC_KIND:
        roles[VALUE] = _whole(kind, roles)
    return StateMeta(name, kind, roles)


def _whole(kind: str, roles: dict[str, Codec]) -> Codec:
    """The serializer of all of an asynchronous state: its snapshot has the serializers of elements, and of keys, apart."""
    value = roles.get(VALUE, unreadable("none"))
    if kind == "list":
        return of_parts("List", value.class_name, [value], list_reader(value))
    if kind == "map":
        key = roles.get(USER_KEY, unreadable("none"))
        return of_parts("Map", value.class_name, [key, value], map_reader(key, value))
    return value


def _searching(reader: DataReader, next_known: Callable[[DataReader, int], int]) -> Codec:
    """Read a snapshot; when its class is not known, move on to the next thing that is."""
    try:
        return read_serializer(reader)
    except UnknownSnapshot as unknown:
        reader.position = next_known(reader, unknown.position)
        return unreadable(unknown.class_name)


def _to_role_or_state(reader: DataReader, start: int) -> int:
    window = bytes(reader.data[start : min(reader.end, start + UNKNOWN_SPAN_MAX)])
    role = _ROLE.search(window)
    state = _state_start(window)
    found = [place for place in (role.start() if role else None, state) if place is not None]
    return start + min(found) if found else reader.end


def _to_states(reader: DataReader, start: int) -> int:
    window = bytes(reader.data[start : min(reader.end, start + UNKNOWN_SPAN_MAX)])
    state = _state_start(window)
    if state is None or state < 2:
        raise Corrupt(
            "the key's serializer is of an unknown class, and no state was found after it",
            context={"file": reader.place, "offset": start},
        )
    return start + state - 2


def _state_start(window: bytes) -> int | None:
    """Where the next state's header begins: its name's length fits the bytes before a kind and options."""
    for match in _STATE.finditer(window):
        kind_at = match.start()
        for length in range(min(kind_at - 2, 512)):
            at = kind_at - length - 2
            if at >= 0 and int.from_bytes(window[at : at + 2], "big") == length and length > 0:
                return at
    return None
