"""Recordings of real players: read them, and turn their events back into the lines that players sent.

A recording is JSON lines `{"t": seconds, "k": kind, ...}` written by `headrace demo-live --record`. Kind `cmcd` holds one event
report: the line as it was sent in `wire`, or, in older recordings, its fields in `ev`: CMCD keys to the text of their values, with the quotes of strings taken off (`"sid": "s0"`) and inner
lists left as they were (`"br": "(1720)"`). Other kinds (`js`, `steer`, `decide`) are kept as they are for whoever wants them.

`encode_cmcd` is the inverse of that: keys in alphabetical order, strings quoted, separated by commas, as the CMCD reporter of
@svta/cml-cmcd 2.7.0 writes them (`encodePreparedCmcd`). Pure: nothing here opens a file or reads a clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from headrace.core.errors import Invalid, Place
from headrace.ingest.cmcd import STRING_KEYS, STRING_LIST_KEYS, is_custom_key

_MEMBER = re.compile(r'(?P<key>[^=,]+)(?:=(?P<value>"(?:[^"\\]|\\.)*"|\([^)]*\)|[^,]*))?(?:,|$)')
_NUMBER_CHARACTERS = frozenset("0123456789.-")


class RecordedEvent(msgspec.Struct, frozen=True):
    """One line of a recording: when the capture server got it, its kind, and the event's fields."""

    t_ms: int
    kind: str
    fields: dict[str, Any]


class _Line(msgspec.Struct):
    t: float
    k: str
    wire: str = ""
    ev: dict[str, Any] = {}
    q: dict[str, Any] = {}
    prio: list[str] = []


def read_recording(lines: Iterable[str | bytes], *, file: str = "recording") -> Iterator[RecordedEvent]:
    """Parse the lines of a recording, in their order; blank lines are passed over.

    Raises:
        Invalid: a line is not a recorded event; names file and line.
    """
    decoder = msgspec.json.Decoder(_Line)
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            line = decoder.decode(text)
        except msgspec.MsgspecError as error:
            raise Invalid(
                f"not a recorded event: {error}",
                place=Place(file, number),
                hint="each line is a JSON object with t (seconds), k (kind) and ev (fields)",
            ) from error
        fields = (
            line.ev
            or decode_wire(line.wire)
            or {key: value for key, value in (("q", line.q), ("prio", line.prio)) if value}
        )
        yield RecordedEvent(round(line.t * 1000), line.k, fields)


def decode_wire(wire: str) -> dict[str, Any]:
    """The fields of a report as sent, in the form of `ev`: quotes of strings taken off, a key without a value is True."""
    return {match["key"]: _decode_value(match["value"]) for match in _MEMBER.finditer(wire)}


def _decode_value(text: str | None) -> Any:
    if text is None:
        return True
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def beacons(events: Iterable[RecordedEvent]) -> Iterator[RecordedEvent]:
    """Only the CMCD event reports of a recording."""
    return (event for event in events if event.kind == "cmcd")


def shifted(ev: Mapping[str, Any], *, sid: str, shift_ms: int, cid: str | None = None) -> dict[str, Any]:
    """The same event, of another session (and room) at another time; nothing else is changed."""
    moved = dict(ev)
    moved["sid"] = sid
    moved["ts"] = str(int(ev["ts"]) + shift_ms)
    if cid is not None:
        moved["cid"] = cid
    return moved


def encode_cmcd(ev: Mapping[str, Any]) -> str:
    """The wire line of one event report, without the line's end."""
    return ",".join(_encode_member(key, ev[key]) for key in sorted(ev))


def _encode_member(key: str, value: Any) -> str:
    if value is True or value == "True":
        return key
    if value is False:
        return f"{key}=?0"
    text = str(value)
    if text.startswith("(") and text.endswith(")"):
        return f"{key}={text}"
    if key in STRING_LIST_KEYS:
        return f"{key}=({_quote(text)})"
    if key in STRING_KEYS or (is_custom_key(key) and not _is_number(value)):
        return f"{key}={_quote(text)}"
    return f"{key}={text}"


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (bool(value) and set(value) <= _NUMBER_CHARACTERS)
