"""Cut a SQL file into statements without understanding them.

Flink's parser takes one statement at a time, so something must find the semicolons that end statements: not those in
strings, quoted names and comments, nor those between the INSERTs of `EXECUTE STATEMENT SET BEGIN … END`. This lexer
follows Flink's own (Calcite's JavaCC grammar in the back-tick state): `'…''…'`, `` `…``…` ``, `-- …`, `// …`,
`/* … */`; hints `/*+ … */` are part of a statement. Everything else is left to Flink.

`SqlStatement.padded` is the statement with blank lines and blanks before it, so that the line and column in Flink's
messages are those of the user's file and need no arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from headrace.core.errors import Invalid, Place

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<comment>--[^\n]*|//[^\n]*|/\*(?!\+).*?\*/)
    |(?P<string>'(?:[^']|'')*+')
    |(?P<name>`(?:[^`]|``)*+`)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<end>;)
    |(?P<unclosed>'|`|/\*(?!\+))
    |(?P<symbol>\w+|.)""",
    re.DOTALL | re.VERBOSE,
)
_UNCLOSED = {"'": "string", "`": "quoted name", "/*": "comment"}
_CREATED = ("VIEW", "TABLE", "FUNCTION")
_BLANK = frozenset({"space", "comment"})


@dataclass(frozen=True)
class Token:
    """A piece of SQL: `kind` is word, name, string or symbol; `text` is unquoted for a name; places count from 1."""

    kind: str
    text: str
    line: int
    column: int


@dataclass(frozen=True)
class SqlStatement:
    """One statement without its semicolon, where it starts, and its tokens without comments."""

    text: str
    line: int
    column: int
    tokens: tuple[Token, ...]

    @property
    def padded(self) -> str:
        """The statement, moved to its place in the file by blanks before it."""
        return "\n" * (self.line - 1) + " " * (self.column - 1) + self.text

    def words(self, count: int) -> tuple[str, ...]:
        """The first `count` tokens in upper case."""
        return tuple(token.text.upper() for token in self.tokens[:count])

    def names(self) -> frozenset[str]:
        """Every word and quoted name: whatever table the statement uses is among them."""
        return frozenset(token.text for token in self.tokens if token.kind in ("word", "name"))

    def find(self, name: str, *, after: str = "") -> Token | None:
        """The first token that is `name`, if `after` is given the first one behind that keyword."""
        seen = not after
        for token in self.tokens:
            if seen and token.kind in ("word", "name") and token.text == name:
                return token
            seen = seen or token.text.upper() == after
        return None

    @property
    def kind(self) -> str:
        """What the first words promise: set, view, table, function, or other."""
        if self.words(1) == ("SET",):
            return "set"
        return next((word.lower() for word in self.words(5) if word in _CREATED), "other") if self._creates else "other"

    @property
    def _creates(self) -> bool:
        return self.words(1) == ("CREATE",)

    def defines(self) -> str:
        """The name that a CREATE VIEW, TABLE or FUNCTION statement makes, else empty."""
        if not self._creates:
            return ""
        words = self.words(9)
        for index, word in enumerate(words[:5]):
            if word in _CREATED:
                rest = self.tokens[index + 1 :]
                if words[index + 1 : index + 4] == ("IF", "NOT", "EXISTS"):
                    rest = rest[3:]
                return rest[0].text if rest else ""
        return ""


def split_statements(text: str, *, file: str) -> list[SqlStatement]:
    """Cut `text` into its statements; empty ones (only blanks and comments) are left out.

    Raises:
        Invalid: a string, a quoted name or a comment is not closed; the place is where it opens.
    """
    statements: list[SqlStatement] = []
    open_tokens: list[Token] = []
    start = end = 0
    text = text.removeprefix("\ufeff")
    for token, begin, stop in _tokens(text, file):
        if token.kind != "end" or (open_tokens and _inside_statement_set(open_tokens)):
            start = start if open_tokens else begin
            end = stop
            open_tokens.append(token)
        elif open_tokens:
            statements.append(_statement(text[start:end], open_tokens))
            open_tokens = []
    if open_tokens:
        statements.append(_statement(text[start:end], open_tokens))
    return statements


def _statement(text: str, tokens: list[Token]) -> SqlStatement:
    return SqlStatement(text, tokens[0].line, tokens[0].column, tuple(tokens))


def _inside_statement_set(tokens: list[Token]) -> bool:
    """Whether a semicolon here separates INSERTs inside `… STATEMENT SET BEGIN` (END follows a semicolon or BEGIN)."""
    words = [token.text.upper() for token in tokens[:4]]
    if len(words) < 4 or words[1:4] != ["STATEMENT", "SET", "BEGIN"]:
        return False
    closed = len(tokens) > 5 and tokens[-1].text.upper() == "END" and tokens[-2].text.upper() in (";", "BEGIN")
    return not closed


def _tokens(text: str, file: str) -> Iterator[tuple[Token, int, int]]:
    line, line_start = 1, 0
    for match in _TOKEN.finditer(text):
        kind, piece = match.lastgroup or "symbol", match.group()
        column = match.start() - line_start + 1
        if kind == "unclosed":
            raise Invalid(
                f"{_UNCLOSED[piece]} is not closed",
                operation="sql.split",
                place=Place(file, line, column),
                hint=f"it opens here with {piece}",
            )
        if kind not in _BLANK:
            plain = piece[1:-1].replace("``", "`") if kind == "name" else piece
            yield Token(kind, plain, line, column), match.start(), match.end()
        breaks = piece.count("\n")
        if breaks:
            line += breaks
            line_start = match.start() + piece.rindex("\n") + 1
