"""Turn what Flink says about a user's SQL into one clear sentence with a place and a hint.

The input is a chain of (class, message), outermost first, as Java threw it. Flink repeats itself at every level
("SQL validation failed. SQL validation failed. From line …"), lists hundreds of expected tokens, and puts the place
into the text; here the place is taken out, the sentence is cut down, and near names are offered. Pure.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headrace.core.errors import Conflict, HeadraceError, Internal, Invalid, NotFound, Place, Unavailable, nearest
from headrace.flink.statements import SqlStatement, Token

_FROM = re.compile(r"From line (\d+), column (\d+) to line \d+, column \d+:\s*")
_AT_HEAD = re.compile(r"At line (\d+), column (\d+):\s*")
_AT = re.compile(r"\s*at line (\d+), column (\d+)\.?")
_PREFIX = re.compile(r"^(?:SQL (?:validation|parse) failed\.\s*)+")
_ENCOUNTERED = re.compile(r'Encountered:? "(.*?)"(?: \(\d+\))?(?:,| at line)', re.DOTALL)
_KEYWORD = re.compile(r"Incorrect syntax near the keyword '(\w+)'")
_EXPECTED = re.compile(r'^\s+("[^"\n]+"|<[A-Z_]+>)', re.MULTILINE)
_OBJECT = re.compile(r"Object '([^']+)' not found")
_SINK = re.compile(r"Cannot find table '(?:`[^`]+`\.)*`([^`]+)`'")
_COLUMN = re.compile(r"Column '([^']+)' not found")
_NAME = re.compile(r"Unknown identifier '([^']+)'")
_FUNCTION = re.compile(r"No match found for function signature ([\w.]+)\(")
# Flink lists every token that would fit; beyond this many the list helps nobody.
_EXPECTED_MAX = 8
_MESSAGE_CHARS_MAX = 400
_DEFAULT_PATH = "default_catalog.default_database."
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
# One letter too few, too many or wrong in a word of six: likeness 0.83 and more; INTO and INSERT have 0.6.
_MISSPELT = 0.8
_SERVER_SIDE = re.compile(r"Exception on server side:\s*(?:[\w.$]+: )?(.+)")
# Words that can start a statement or its query; a misspelt one makes Flink read an expression.
_STARTS = ("CREATE", "INSERT", "SELECT", "EXECUTE", "VALUES", "WITH")
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
    if any(cause.message.startswith("Failed to execute job") for cause in causes):
        return _refused(causes, operation=operation)
    if _ENCOUNTERED.search(best.message) or _KEYWORD.search(best.message):
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


def refine(error: HeadraceError, statement: SqlStatement) -> HeadraceError:
    """Find the place in `statement` when Flink names none (the error then stands at the statement's start)."""
    if error.message == "unknown type or column `*`":
        return _unknown_aggregate(error, statement)
    if not error.place or (error.place.line, error.place.column) != (statement.line, statement.column):
        return error
    token: Token | None = None
    if error.message.startswith("unknown table"):
        token = statement.find(error.message.split("`")[1], after="INTO")
    elif error.message.startswith("non-query expression"):
        for each in statement.tokens:
            close = difflib.get_close_matches(each.text.upper(), _STARTS, 1, _MISSPELT) if each.kind == "word" else []
            if close and each.text.upper() not in _STARTS:
                error.message, error.hint = f"unexpected `{each.text}`", f"did you mean {close[0]}?"
                token = each
                break
    elif "watermark" in error.message:
        token = next((each for each in statement.tokens if each.text.upper() == "WATERMARK"), None)
    if token:
        error.place = Place(error.place.file, token.line, token.column)
    return error


def _unknown_aggregate(error: HeadraceError, statement: SqlStatement) -> HeadraceError:
    """`cuont(*)`: Flink complains of the star, because it knows the star only as the argument of COUNT."""
    places = [(token.line, token.column) for token in statement.tokens]
    index = places.index((error.place.line, error.place.column)) if error.place else 0
    name = statement.tokens[max(0, index - 2)]
    error.message, error.hint = f"unknown function `{name.text}`", "only COUNT takes (*)"
    error.place = Place(error.place.file, name.line, name.column) if error.place else None
    return error


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


def _refused(causes: Sequence[JavaCause], *, operation: str) -> HeadraceError:
    """The cluster took the job and refused it; what it said may be inside a text that its REST server sent."""
    text = "\n".join(cause.message for cause in causes)
    root = causes[-1].message
    inner = _SERVER_SIDE.search(root)
    reason = _sentence(inner.group(1) if inner else _first_line(root))
    if "DuplicateJobSubmission" in text + causes[-1].class_name or "has already been submitted" in text:
        return Conflict("a job with this id exists", operation=operation, hint="the earlier submission went through")
    if "Cannot find checkpoint or savepoint" in text:
        return NotFound(reason, operation=operation, hint="choose one that exists: `headrace job show`")
    if "Cannot map checkpoint/savepoint state" in text:
        hint = "state of an operator that is gone: deploy with allow-non-restored state to drop it, or start afresh"
        return Invalid(f"savepoint does not fit the job: {reason}", operation=operation, hint=hint)
    if "timed out" in text or "TimeoutException" in text + causes[-1].class_name:
        hint = "it may have been accepted all the same: look for its id before sending it again"
        return Unavailable("cluster did not answer the submission in time", operation=operation, hint=hint)
    return Invalid(f"cluster refused the job: {reason}", operation=operation, hint="`headrace logs jobmanager`")


def _syntax(message: str, *, place: Place, operation: str) -> HeadraceError:
    match = _ENCOUNTERED.search(message) or _KEYWORD.search(message)
    found = (match.group(1) if match else "").replace('\\"', '"').replace("\\'", "'").split("\n")[0]
    expected = list(dict.fromkeys(_expected_name(raw) for raw in _EXPECTED.findall(message)))
    word = found.split(" ")[0]
    sentence, hint = f"unexpected `{found}`", ""
    close = nearest(word.upper(), [each for each in expected if each.isalpha()], limit=1)
    if found == "<EOF>":
        sentence, hint = "statement ends too early", "a bracket or a clause is not finished"
    elif _KEYWORD.search(message):
        hint = "is there a comma too many before it? put it in back-ticks if it is a name"
    elif word.isidentifier() and "a name" in expected:
        sentence, hint = f"unexpected reserved word `{word}`", "put it in back-ticks if it is a name"
    elif word.isidentifier() and close and close[0] != word.upper():
        hint = f"did you mean {close[0]}?"
    elif 0 < len(expected) <= _EXPECTED_MAX:
        hint = f"expected: {', '.join(expected)}"
    elif word.isidentifier() and "," in expected:
        hint = "is a comma missing before it?"
    elif found.startswith('"'):
        hint = "a string stands in single quotes, a name in back-ticks"
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
    text = text.replace(_DEFAULT_PATH, "")
    head = text.split("\n\n")[0].replace("\n", " ").strip()[:_MESSAGE_CHARS_MAX].rstrip(",. ")
    return head[:1].lower() + head[1:] if head[1:2].islower() else head


def _first_line(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip()), "")[:_MESSAGE_CHARS_MAX]


def _some(names: Sequence[str]) -> str:
    shown = sorted(names)[:_EXPECTED_MAX]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
