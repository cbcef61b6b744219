"""Turn what Flink says about a user's SQL into one clear sentence with a place and a hint.

The input is a chain of (class, message), outermost first, as Java threw it. Flink repeats itself at every level
("SQL validation failed. SQL validation failed. From line …"), lists hundreds of expected tokens, and puts the place
into the text; here the place is taken out, the sentence is cut down, and near names are offered. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headrace.core.errors import Conflict, HeadraceError, Internal, Invalid, NotFound, Place, Unavailable, nearest

_FROM = re.compile(r"From line (\d+), column (\d+) to line \d+, column \d+:\s*")
_AT_HEAD = re.compile(r"At line (\d+), column (\d+):\s*")
_AT = re.compile(r"\s*at line (\d+), column (\d+)\.?")
_PREFIX = re.compile(r"^(?:SQL (?:validation|parse) failed\.\s*)+")
_ENCOUNTERED = re.compile(r'Encountered:? "(.*?)"(?: \(\d+\))?(?:,| at line)', re.DOTALL)
_EXPECTED = re.compile(r'^\s+("[^"\n]+"|<[A-Z_]+>)', re.MULTILINE)
_OBJECT = re.compile(r"Object '([^']+)' not found")
_SINK = re.compile(r"Cannot find table '(?:`[^`]+`\.)*`([^`]+)`'")
_COLUMN = re.compile(r"Column '([^']+)' not found")
_NAME = re.compile(r"Unknown identifier '([^']+)'")
_FUNCTION = re.compile(r"No match found for function signature ([\w.]+)\(")
# Flink lists every token that would fit; beyond this many the list helps nobody.
_EXPECTED_MAX = 8
_MESSAGE_CHARS_MAX = 400
# Flink's type names, to offer when a column's type is misspelt (its message then speaks of an identifier).
_TYPES = [
    "ARRAY",
    "BIGINT",
    "BINARY",
    "BOOLEAN",
    "BYTES",
    "CHAR",
    "DATE",
    "DECIMAL",
    "DOUBLE",
    "FLOAT",
    "INT",
    "INTEGER",
    "INTERVAL",
    "MAP",
    "MULTISET",
    "NUMERIC",
    "ROW",
    "SMALLINT",
    "STRING",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "TINYINT",
    "VARBINARY",
    "VARCHAR",
    "VARIANT",
]
_UNREACHABLE = ("ConnectException", "ConnectTimeoutException", "ConnectionClosedException", "UnknownHostException")


@dataclass(frozen=True)
class JavaCause:
    """One exception of the chain: full class name and message."""

    class_name: str
    message: str


@dataclass(frozen=True)
class Known:
    """Names that exist, to offer near ones; each is asked only when its kind of name is unknown."""

    tables: Sequence[str] = ()
    columns: Sequence[str] = ()
    functions: Sequence[str] = ()


def explain_failure(causes: Sequence[JavaCause], *, start: Place, known: Known, operation: str) -> HeadraceError:
    """The error that a user should see.

    Args:
        causes: outermost first; empty means a failure without Java.
        start: where the statement starts, used when Flink names no place.
        known: names to choose near ones from.
        operation: as in `HeadraceError.operation`.
    """
    if not causes:
        return Internal("the planner failed without saying why", operation=operation, place=start)
    for cause in causes:
        if cause.class_name.rpartition(".")[2] in _UNREACHABLE:
            return Unavailable(
                f"flink cluster cannot be reached: {_first_line(cause.message)}",
                operation=operation,
                hint="see `headrace status`; is the jobmanager up?",
            )
    name = unknown_name(causes)
    best = _best(causes)
    place = find_place(best.message, start) or start
    if name:
        return _unknown(name, place=place, known=known, operation=operation)
    if "DuplicateJobSubmission" in " ".join(cause.class_name for cause in causes):
        return Conflict("a job with this id exists", operation=operation, hint="the earlier submission went through")
    if _ENCOUNTERED.search(best.message):
        return _syntax(best.message, place=place, operation=operation)
    root = _first_line(causes[-1].message)
    sentence = _sentence(best.message)
    context = {"cause": root} if root and _sentence(root) not in sentence else {}
    kind = Invalid if _is_users(causes) else Internal
    return kind(sentence, operation=operation, place=place, context=context, hint=_hint(causes))


def unknown_name(causes: Sequence[JavaCause]) -> tuple[str, str] | None:
    """(kind, name) when the failure is an unknown table, column or function."""
    text = "\n".join(cause.message for cause in causes)
    for kind, pattern in (
        ("table", _OBJECT),
        ("table", _SINK),
        ("column", _COLUMN),
        ("name", _NAME),
        ("function", _FUNCTION),
    ):
        match = pattern.search(text)
        if match:
            return kind, next(group for group in match.groups() if group)
    return None


def find_place(message: str, start: Place) -> Place | None:
    """The place that Flink put into `message`; None if there is none. Flink says line 0 for an empty text."""
    match = _FROM.search(message) or _AT_HEAD.search(message) or _AT.search(message)
    if not match or match.group(1) == "0":
        return None
    return Place(start.file, int(match.group(1)), int(match.group(2)))


def _unknown(name: tuple[str, str], *, place: Place, known: Known, operation: str) -> HeadraceError:
    kind, text = name
    names = {
        "table": known.tables,
        "column": known.columns,
        "name": [*_TYPES, *known.columns],
        "function": known.functions,
    }[kind]
    close = nearest(text, names) or nearest(text.lower(), names) or nearest(text.upper(), names)
    if close:
        hint = f"nearest: {', '.join(close)}"
    elif kind == "table" and not names:
        hint = "no tables are known yet: `headrace table apply`"
    elif kind == "table":
        hint = f"known tables: {_some(names)}"
    else:
        hint = f"known: {_some(names)}" if kind == "column" and names else ""
    cls = NotFound if kind == "table" else Invalid
    what = "type or column" if kind == "name" else kind
    return cls(f"unknown {what} `{text}`", operation=operation, place=place, hint=hint)


def _syntax(message: str, *, place: Place, operation: str) -> HeadraceError:
    match = _ENCOUNTERED.search(message)
    found = (match.group(1) if match else "").replace('\\"', '"').replace("\\'", "'").split("\n")[0]
    expected = list(dict.fromkeys(_expected_name(raw) for raw in _EXPECTED.findall(message)))
    close = nearest(found.upper(), expected, limit=1)
    if found == "<EOF>":
        sentence = "statement ends too early"
    elif found.split(" ")[0].isupper() and found.isascii() and found.isalpha() and "a name" in expected:
        return Invalid(
            f"unexpected keyword `{found}`",
            operation=operation,
            place=place,
            hint="quote it with back-ticks if it is a name",
        )
    else:
        sentence = f"unexpected `{found}`"
    if close and close[0] != found.upper():
        hint = f"did you mean {close[0]}?"
    elif 0 < len(expected) <= _EXPECTED_MAX:
        hint = f"expected: {', '.join(expected)}"
    else:
        hint = "a string stands in single quotes, a name in back-ticks" if found.startswith('"') else ""
    return Invalid(sentence, operation=operation, place=place, hint=hint)


def _expected_name(raw: str) -> str:
    if raw.startswith("<"):
        if "IDENTIFIER" in raw:
            return "a name"
        return {"<QUOTED_STRING>": "a string", "<EOF>": "the end"}.get(
            raw, "a string" if "LITERAL" in raw or "STRING" in raw else raw
        )
    return raw.strip('"')


def _best(causes: Sequence[JavaCause]) -> JavaCause:
    """The innermost message that names a place, else the outermost one that says something."""
    for cause in reversed(causes):
        if _FROM.search(cause.message) or _AT_HEAD.search(cause.message) or _AT.search(cause.message):
            return cause
    return next((cause for cause in causes if _sentence(cause.message)), causes[0])


def _is_users(causes: Iterable[JavaCause]) -> bool:
    """Whether the failure is the SQL's or the options' (not a bug or a broken cluster)."""
    users = ("ValidationException", "SqlParser", "TableException", "Calcite", "SqlValidator", "IllegalArgument")
    return any(word in cause.class_name for cause in causes for word in users)


def _hint(causes: Sequence[JavaCause]) -> str:
    text = "\n".join(cause.message for cause in causes)
    if "do not match" in text and "Query schema" in text:
        schemas = re.findall(r"(?:Query|Sink) schema:\s*\[[^\n]*", text)
        return "; ".join(schemas)
    if "Could not find any factory for identifier" in text:
        return "the connector is misspelt or its jar is not on the cluster's class path: `headrace doctor`"
    return ""


def _sentence(message: str) -> str:
    text = _AT.sub("", _AT_HEAD.sub("", _FROM.sub("", _PREFIX.sub("", message.strip())))).strip()
    head = text.split("\n\n")[0].replace("\n", " ").strip()[:_MESSAGE_CHARS_MAX].rstrip(". ")
    return head[:1].lower() + head[1:] if head[1:2].islower() else head


def _first_line(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip()), "")[:_MESSAGE_CHARS_MAX]


def _some(names: Sequence[str]) -> str:
    shown = sorted(names)[:_EXPECTED_MAX]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
