"""CMCD version 2 event reports (CTA-5004-B): the vocabulary, and the reference parser of one line.

A report is one line, an RFC 8941 dictionary: `br=(1720),cid="room1",e=ps,sid="s0",sn=2,sta=s,ts=1795364250779,v=2`. A batch is
such lines joined by newlines, sent as `application/cmcd`. `parse_line` follows the RFC (section 4.2) with one leniency: strings
may hold any UTF-8 text, because the reporter of @svta/cml-cmcd 2.7.0 sends a non-ASCII `cid` as it is. It is written to be
plainly right and to say what is wrong; `headrace.ingest.streams` has the fast path for clean lines, which a property test
compares with this one.
"""

from __future__ import annotations

import re

Item = int | float | str | bool
Member = Item | list[Item]

# Keys of versions 1 and 2: CMCD_REQUEST_KEYS, CMCD_RESPONSE_KEYS, CMCD_EVENT_KEYS and CMCD_V1_KEYS of @svta/cml-cmcd 2.7.0.
STANDARD_KEYS = frozenset(
    re.findall(
        r"\w+",
        "ab bg bl br bs bsa bsd bsda cdn cen cid cmsdd cmsds cs d dfa dl e ec h lab lb ltc msd mtp nor nr nrr ot pb pr pt "
        "rc rtp sf sid smrt sn st sta su tab tb tbl tpb ts ttfb ttfbb ttlb url v",
    )
)
STRING_KEYS = frozenset(("cdn", "cen", "cid", "cmsdd", "cmsds", "h", "nrr", "sid", "smrt", "url"))
STRING_LIST_KEYS = frozenset(("ec", "nor"))
NUMBER_LIST_KEYS = frozenset(
    ("ab", "bl", "br", "bsa", "bsd", "bsda", "lab", "lb", "mtp", "pb", "tab", "tb", "tbl", "tpb")
)

OUR_PREFIX = "com.headrace-"
OUR_KEYS = {"com.headrace-age": "age_ms", "com.headrace-cdn": "cdn"}
_COLUMNS = {"ts": "ts_ms", **OUR_KEYS}

_CUSTOM = re.compile(r"[a-z][a-z0-9.]*-[a-z0-9.-]*[a-z0-9.]")
_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
_STRING = re.compile(r'"((?:[^"\\\x00-\x1f\x7f]|\\["\\])*)"')
_NUMBER = re.compile(r"-?(?:[0-9]{1,12}\.[0-9]{1,3}|[0-9]{1,15}(?!\.?[0-9]))")
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~\w:/]*", re.ASCII)
_BOOLEAN = re.compile(r"\?([01])")
_ESCAPED = re.compile(r'\\(["\\])')
_SPACES = re.compile(r" *")
_BLANKS = re.compile(r"[ \t]*")


class LineError(ValueError):
    """A line is no dictionary of structured fields; `at` is the character, from 0."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(f"{what} at character {at + 1}")
        self.at = at


def column_of(key: str) -> str:
    """The column that a CMCD key fills."""
    return _COLUMNS.get(key, key)


def is_custom_key(key: str) -> bool:
    """Whether `key` is a custom key: it has a hyphen that is neither its first nor its last character."""
    return _CUSTOM.fullmatch(key) is not None


def parse_line(text: str) -> dict[str, Member]:
    """The members of one line; of a key given twice the last one counts (RFC 8941, 4.2.2). Parameters are dropped.

    Raises:
        LineError: not a dictionary of structured fields.
    """
    members: dict[str, Member] = {}
    at = 0
    while True:
        key = _KEY.match(text, at)
        if key is None:
            raise LineError("expected a key", at)
        at = key.end()
        value: Member = True
        if text[at : at + 1] == "=":
            value, at = _member(text, at + 1)
        members[key.group()] = value
        at = _end(_BLANKS, text, _skip_parameters(text, at))
        if at == len(text):
            return members
        if text[at] != ",":
            raise LineError("expected a comma", at)
        at = _end(_BLANKS, text, at + 1)


def _member(text: str, at: int) -> tuple[Member, int]:
    return _inner_list(text, at + 1) if text[at : at + 1] == "(" else _item(text, at)


def _inner_list(text: str, at: int) -> tuple[list[Item], int]:
    items: list[Item] = []
    while True:
        at = _end(_SPACES, text, at)
        if text[at : at + 1] == ")":
            return items, at + 1
        item, at = _item(text, at)
        items.append(item)
        at = _skip_parameters(text, at)
        if text[at : at + 1] not in (" ", ")"):
            raise LineError("expected a space or `)` in a list", at)


def _item(text: str, at: int) -> tuple[Item, int]:
    if found := _STRING.match(text, at):
        return _ESCAPED.sub(r"\1", found[1]), found.end()
    if found := _NUMBER.match(text, at):
        number = found.group()
        return (float(number) if "." in number else int(number)), found.end()
    if found := _TOKEN.match(text, at):
        return found.group(), found.end()
    if found := _BOOLEAN.match(text, at):
        return found[1] == "1", found.end()
    raise LineError("expected a value", at)


def _skip_parameters(text: str, at: int) -> int:
    while text[at : at + 1] == ";":
        key = _KEY.match(text, _end(_SPACES, text, at + 1))
        if key is None:
            raise LineError("expected a parameter's key", at + 1)
        at = key.end()
        if text[at : at + 1] == "=":
            _, at = _item(text, at + 1)
    return at


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
