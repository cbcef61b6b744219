"""Errors of the OLAP face in ClickHouse's own terms: a number, a text and the HTTP status that goes with the number.

Clients of ClickHouse look at the number (`X-ClickHouse-Exception-Code`) and at `Code: N. DB::Exception: …`; both are kept. The
numbers are those of ClickHouse's `ErrorCodes.cpp`, the statuses those of its HTTP handler, except that too many queries is 503,
which every HTTP client takes as "later".
"""

from __future__ import annotations

import re

UNKNOWN = 1002
CANNOT_INFLATE = 354
SYNTAX_ERROR = 62
UNKNOWN_DATABASE = 81
UNKNOWN_COMPRESSION = 89
TIMEOUT_EXCEEDED = 159
READONLY = 164
TOO_MANY_QUERIES = 202
SOCKET_TIMEOUT = 209
TOO_MANY_BYTES = 307
ACCESS_DENIED = 497

_NAMES = {
    UNKNOWN: "UNKNOWN_EXCEPTION",
    CANNOT_INFLATE: "ZLIB_INFLATE_FAILED",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    UNKNOWN_COMPRESSION: "UNKNOWN_COMPRESSION_METHOD",
    TIMEOUT_EXCEEDED: "TIMEOUT_EXCEEDED",
    READONLY: "READONLY",
    TOO_MANY_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    SOCKET_TIMEOUT: "SOCKET_TIMEOUT",
    TOO_MANY_BYTES: "TOO_MANY_BYTES",
    ACCESS_DENIED: "ACCESS_DENIED",
}
_NOT_FOUND = {46, 47, 60, 81, 5, 16}  # unknown function, identifier, table, database, file, no such column
_FORBIDDEN = {READONLY, ACCESS_DENIED, 242, 291}
_UNAVAILABLE = {TOO_MANY_QUERIES, 241, 252, 243}  # also: memory limit, too many parts, no disk space
_NOT_IMPLEMENTED = {48, 344}
_SERVER = {49, 74, 75, 76, UNKNOWN, 1001}  # logical error, cannot read, write or open a file, standard exception
_HEAD = re.compile(r"Code: (\d+)\. DB::Exception: ")


class ClickHouseError(Exception):
    """A failure with ClickHouse's number; `text` is complete and ends in the number's name in brackets."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def status(self) -> int:
        """The HTTP status to answer with."""
        if self.code in (TIMEOUT_EXCEEDED, SOCKET_TIMEOUT, 160):
            return 408
        if self.code == TOO_MANY_BYTES:
            return 413
        for codes, status in (
            (_NOT_FOUND, 404),
            (_FORBIDDEN, 403),
            (_UNAVAILABLE, 503),
            (_NOT_IMPLEMENTED, 501),
            (_SERVER, 500),
        ):
            if self.code in codes:
                return status
        return 400


def refuse(code: int, message: str, *, hint: str = "") -> ClickHouseError:
    """An error of ours, worded as ClickHouse words its own."""
    tail = f" hint: {hint}." if hint else ""
    return ClickHouseError(code, f"Code: {code}. DB::Exception: {message}.{tail} ({_NAMES.get(code, 'UNKNOWN')})")


def from_engine(error: Exception) -> ClickHouseError:
    """Read the number out of what chDB raised; a text without one is `UNKNOWN`."""
    text = str(error).strip()
    found = _HEAD.search(text)
    if found is None:
        return refuse(UNKNOWN, text or type(error).__name__)
    return ClickHouseError(int(found.group(1)), text[found.start() :])
