"""The one set of error kinds, the same names in Python, Java and Rust.

An error says what failed and with which values (one line, lower case, no full stop), and a hint on its own line says
what to do about it. Layers that pass an error on add their operation and context with `HeadraceError.with_context`.
Nothing here formats for a terminal; `headrace.cli` does.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import ClassVar

import msgspec


class Place(msgspec.Struct, frozen=True):
    """Where in a user's file something is wrong; `line` and `column` count from 1, 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """`file:line:column`, without the parts that are unknown."""
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as it travels: in HTTP answers, driver frames and `--json` output."""

    kind: str
    message: str
    hint: str = ""
    operation: str = ""
    context: dict[str, str] = {}
    place: Place | None = None


class HeadraceError(Exception):
    """Base of all errors that Headrace raises on purpose.

    Args:
        message: what failed, lower case, no full stop.
        hint: what the reader can do about it.
        operation: the operation that failed, as `noun.verb`.
        context: values that explain the failure; rendered as ``key=`value` ``.
        place: the place in a user's file, when there is one.
    """

    kind: ClassVar[str] = "Internal"
    retryable: ClassVar[bool] = False
    http_status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        operation: str = "",
        context: Mapping[str, object] | None = None,
        place: Place | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.operation = operation
        self.context: dict[str, str] = {key: str(value) for key, value in (context or {}).items()}
        self.place = place

    def __str__(self) -> str:
        """The message with place and context, then the hint on its own line."""
        head = f"{self.place}: {self.message}" if self.place else self.message
        pairs = ", ".join(f"{key}=`{value}`" for key, value in self.context.items())
        first = f"{head}, {pairs}" if pairs else head
        return f"{first}\nhint: {self.hint}" if self.hint else first

    def with_context(self, operation: str = "", **context: object) -> HeadraceError:
        """Add the operation and context of an outer layer; returns the same error so that it can be raised."""
        self.operation = (
            f"{operation} > {self.operation}" if operation and self.operation else operation or self.operation
        )
        self.context.update({key: str(value) for key, value in context.items()})
        return self

    def body(self) -> ErrorBody:
        """The error as a value that can be encoded."""
        return ErrorBody(self.kind, self.message, self.hint, self.operation, dict(self.context), self.place)


class Invalid(HeadraceError):
    """The call is wrong: fix it."""

    kind = "Invalid"
    http_status = 400


class NotFound(HeadraceError):
    """The thing named does not exist."""

    kind = "NotFound"
    http_status = 404


class Conflict(HeadraceError):
    """Somebody else changed it: re-read and decide again."""

    kind = "Conflict"
    http_status = 409


class Unsupported(HeadraceError):
    """This system cannot do that."""

    kind = "Unsupported"
    http_status = 422


class Unavailable(HeadraceError):
    """An outside system does not answer: back off and try again."""

    kind = "Unavailable"
    retryable = True
    http_status = 503


class Throttled(HeadraceError):
    """Too fast: slow down."""

    kind = "Throttled"
    retryable = True
    http_status = 429


class Fenced(HeadraceError):
    """A newer owner exists: reopen."""

    kind = "Fenced"
    http_status = 409


class Corrupt(HeadraceError):
    """Stored data is wrong: stop and restore."""

    kind = "Corrupt"


class Internal(HeadraceError):
    """Our bug: report it."""

    kind = "Internal"


KINDS: dict[str, type[HeadraceError]] = {
    cls.kind: cls
    for cls in (Invalid, NotFound, Conflict, Unsupported, Unavailable, Throttled, Fenced, Corrupt, Internal)
}


def from_body(body: ErrorBody) -> HeadraceError:
    """Rebuild the error that `HeadraceError.body` made; an unknown kind becomes `Internal`."""
    cls = KINDS.get(body.kind, Internal)
    return cls(body.message, hint=body.hint, operation=body.operation, context=body.context, place=body.place)


def nearest(name: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """The known names most like `name`, best first, for "did you mean" hints."""
    return difflib.get_close_matches(name, list(known), n=limit, cutoff=0.5)
