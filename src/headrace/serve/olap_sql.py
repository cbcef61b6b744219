"""What the OLAP host must know of a statement before the engine sees it: where inline data starts, and whether it is allowed.

Two steps, so that no difference between two lexers can be used to slip past:
1. `split_insert` finds, in the raw text, where `INSERT … FORMAT x` or `VALUES` ends and data begins. If it errs, step 2 fails.
2. `judge` looks at the *canonical* text, which the engine's own parser printed (`formatQuery`): one statement, no comments, one
   way of quoting. It lets through only known kinds of statements, table engines and database engines, and refuses every
   table function and clause that reaches outside the store (files, network, processes).

Why so strict: `ENGINE = Kafka` makes the embedded engine shut down and leaves its directory unopenable (facts, ecosystem.md 2.3), and an
HTTP face without users must not read the host's files. Pure; executes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from headrace.core.errors import nearest
from headrace.serve.olap_errors import ACCESS_DENIED, SYNTAX_ERROR, ClickHouseError, refuse

TABLE_ENGINES = frozenset(
    [
        prefix + "MergeTree"
        for prefix in (
            "",
            "Replacing",
            "Summing",
            "Aggregating",
            "Collapsing",
            "VersionedCollapsing",
            "Coalescing",
            "Graphite",
        )
    ]
    + ["Memory", "Log", "TinyLog", "StripeLog", "Null", "Set", "Join", "Buffer", "Merge", "View", "MaterializedView"]
)
DATABASE_ENGINES = frozenset(["Atomic", "Memory"])
TABLE_FUNCTIONS = frozenset(
    [
        "format",
        "generaterandom",
        "generateseries",
        "generate_series",
        "loop",
        "merge",
        "mergetreeindex",
        "null",
        "numbers",
        "numbers_mt",
        "primes",
        "values",
        "view",
        "viewexplain",
        "viewifpermitted",
        "zeros",
        "zeros_mt",
        "sqlstandardvalues",
    ]
)
# Used as well as what the running engine lists in system.table_functions, so that a newer engine's additions are refused too.
OUTSIDE_FUNCTIONS = frozenset(
    [
        "arrowstream",
        "azureblobstorage",
        "azureblobstoragecluster",
        "bigquery",
        "catboostevaluate",
        "cluster",
        "clusterallreplicas",
        "cosn",
        "deltalake",
        "deltalakelocal",
        "dictionary",
        "disk",
        "eval",
        "executable",
        "file",
        "filecluster",
        "filesystem",
        "fuzzjson",
        "fuzzquery",
        "gcs",
        "hdfs",
        "hdfscluster",
        "hudi",
        "iceberg",
        "iceberglocal",
        "input",
        "jdbc",
        "mongodb",
        "mysql",
        "odbc",
        "oss",
        "paimon",
        "paimonlocal",
        "postgresql",
        "prometheusquery",
        "python",
        "redis",
        "remote",
        "remotesecure",
        "s3",
        "s3cluster",
        "sqlite",
        "url",
        "urlcluster",
        "ytsaurus",
    ]
)
_READS = frozenset(["SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "("])
_WRITES = frozenset(
    [
        "INSERT",
        "CREATE",
        "DROP",
        "ALTER",
        "TRUNCATE",
        "RENAME",
        "EXCHANGE",
        "OPTIMIZE",
        "KILL",
        "SET",
        "USE",
        "DELETE",
        "UPDATE",
        "DETACH",
        "UNDROP",
        "REPLACE",
    ]
)
_CREATABLE = frozenset(["TABLE", "DATABASE", "VIEW", "MATERIALIZED", "INDEX", "FUNCTION", "TEMPORARY", "OR", "REPLACE"])
_ENGINE_SETTINGS = frozenset(["default_table_engine", "default_temporary_table_engine"])
_KEPT_DATABASES = frozenset(["default", "system", "information_schema"])
_PATH_LIKE = re.compile(r"^[/~]|\.\.|://")
_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|\#[ !][^\n]*|//[^\n]*|/\*.*?\*/)
    |(?P<string>'(?:[^'\\]|\\.|'')*'|‘[^’]*’|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*"|“[^”]*”)
    |(?P<word>[A-Za-z_][\w$]*)
    |(?P<other>\d[\w.]*|.)""",
    re.VERBOSE | re.DOTALL,
)


class Token(msgspec.Struct, frozen=True):
    """One token: `kind` is word, quoted, string or other; `text` without quotes for quoted; `end` is its end in the source."""

    kind: str
    text: str
    end: int

    def word(self) -> str:
        """Upper-case text of a bare word, else empty."""
        return self.text.upper() if self.kind == "word" else ""


class InsertHead(msgspec.Struct, frozen=True):
    """An INSERT that carries data: `head` up to and with `FORMAT x`, the format's name, and where data starts in the text."""

    head: str
    format: str
    data_at: int


class Statement(msgspec.Struct, frozen=True):
    """What `judge` found out: the first word, whether it only reads, and the format its FORMAT clause names, if any."""

    verb: str
    reads: bool
    format: str
    identifier_parameters: bool


class Policy(msgspec.Struct, frozen=True):
    """What is allowed; `outside` are the table functions refused, in lower case."""

    table_engines: frozenset[str] = TABLE_ENGINES
    database_engines: frozenset[str] = DATABASE_ENGINES
    outside: frozenset[str] = OUTSIDE_FUNCTIONS


def policy_for(engine_table_functions: Sequence[str]) -> Policy:
    """The policy for an engine that offers these table functions: all of them are refused but the harmless ones."""
    offered = {name.lower() for name in engine_table_functions}
    return Policy(outside=frozenset(offered | OUTSIDE_FUNCTIONS) - TABLE_FUNCTIONS)


def tokens(sql: str) -> Iterator[Token]:
    """Split SQL as ClickHouse's lexer does: strings, three kinds of quotes, here-documents and comments are understood."""
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup or "other"
        if match.group("string") is not None:
            kind = "string"
        if kind == "space":
            continue
        text = match.group()
        yield Token(kind, _unquote(text) if kind == "quoted" else text, match.end())


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)|``|\"\"", lambda found: found.group(1) or found.group()[0], text[1:-1], flags=re.DOTALL)


def split_insert(sql: str) -> InsertHead | None:
    """Find the data of an INSERT; None when it is no INSERT or takes its rows from a SELECT.

    Raises:
        ClickHouseError: an INSERT with neither FORMAT, VALUES nor SELECT (code 62).
    """
    depth, previous, first = 0, "", True
    for token in tokens(sql):
        word = token.word()
        if first and word != "INSERT":
            return None
        first = False
        if depth == 0 and previous == "FORMAT" and token.kind in ("word", "quoted"):
            return InsertHead(sql[: token.end], token.text, _data_start(sql, token.end))
        if depth == 0 and word == "VALUES":
            return InsertHead(f"{sql[: token.end - 6]}FORMAT Values", "Values", token.end)
        if depth == 0 and word in ("SELECT", "WITH") and previous:
            return None
        depth += {"(": 1, ")": -1}.get(token.text if token.kind == "other" else "", 0)
        previous = word or token.text
    if first:
        return None
    raise refuse(SYNTAX_ERROR, "INSERT names no data", hint="end it with FORMAT JSONEachRow, VALUES or a SELECT")


def _data_start(sql: str, end: int) -> int:
    """ClickHouse skips blanks and one line end between the format's name and the data."""
    match = re.compile(r"[ \t]*;?[ \t]*(\r?\n)?").match(sql, end)
    return match.end() if match else end


def judge(canonical: str, policy: Policy) -> Statement:
    """Decide whether a statement may run.

    Args:
        canonical: one statement as the engine's `formatQuery` prints it.
        policy: what is allowed.

    Raises:
        ClickHouseError: it may not (code 497); the text names what is refused and what is allowed instead.
    """
    found = list(tokens(canonical))
    verb = (found[0].word() or found[0].text) if found else ""
    if verb not in _READS | _WRITES:
        raise refuse(
            ACCESS_DENIED, f"statement {verb or '(empty)'} is refused here", hint="queries, INSERT and DDL are allowed"
        )
    _check_created(found)
    _check_kept_databases(found)
    for index, token in enumerate(found):
        rest = found[index + 1 : index + 3]
        _check_engine(found, index, policy)
        _check_reach(token, rest, policy)
    identifier = any(t.word() == "IDENTIFIER" and found[i - 1].text == ":" for i, t in enumerate(found))
    return Statement(verb, verb in _READS, _format_of(found), identifier)


def check_identifier_value(value: str) -> None:
    """Refuse a parameter of type Identifier that names a file: the engine would open it as a table."""
    if _PATH_LIKE.search(value):
        raise _refused_path(value)


def _check_created(found: Sequence[Token]) -> None:
    """Each CREATE (PARALLEL WITH allows several) must make a kind of thing that lives inside the store."""
    for index, token in enumerate(found[:-1]):
        starts = index == 0 or (found[index - 1].word() == "WITH" and found[index - 2].word() == "PARALLEL")
        if starts and token.word() == "CREATE" and found[index + 1].word() not in _CREATABLE:
            raise refuse(
                ACCESS_DENIED,
                f"CREATE {found[index + 1].text} is refused here",
                hint="tables, views and databases only",
            )
        if starts and token.word() == "CREATE":
            subject = [t.word() for t in found[index + 1 : index + 4]]
            if "DICTIONARY" in subject or "LIVE" in subject or "WINDOW" in subject:
                raise refuse(ACCESS_DENIED, "this kind of object is refused here", hint="use a table or a view")


def _check_kept_databases(found: Sequence[Token]) -> None:
    """The databases that the engine itself relies on stay: `DROP DATABASE default` would be obeyed."""
    names = {t.text.lower() for t in found[2:6]}
    if found[0].word() in ("DROP", "DETACH", "RENAME") and found[1].word() == "DATABASE" and names & _KEPT_DATABASES:
        raise refuse(ACCESS_DENIED, "this database has to stay", hint="drop its tables instead")


def _check_engine(found: Sequence[Token], index: int, policy: Policy) -> None:
    token = found[index]
    following = [t.text for t in found[index + 1 : index + 3]]
    if token.kind in ("word", "quoted") and token.text.lower() in _ENGINE_SETTINGS:
        raise refuse(ACCESS_DENIED, f"setting {token.text} is refused here", hint="name the engine in CREATE TABLE")
    if token.word() != "ENGINE" or len(following) < 2 or following[0] != "=" or found[0].word() in _READS:
        return
    name = following[1]
    database = any(t.word() == "DATABASE" for t in found[:3])
    allowed = policy.database_engines if database else policy.table_engines
    if name not in allowed:
        close = ", ".join(nearest(name, allowed)) or ", ".join(sorted(allowed))
        raise refuse(ACCESS_DENIED, f"engine {name} is refused here", hint=f"allowed here: {close}")


def _check_reach(token: Token, rest: Sequence[Token], policy: Policy) -> None:
    after = rest[0].text if rest else ""
    if token.kind in ("word", "quoted") and after == "(" and token.text.lower() in policy.outside:
        raise refuse(
            ACCESS_DENIED,
            f"function {token.text} reaches outside the store and is refused here",
            hint="insert the data",
        )
    if token.word() in ("INTO", "FROM") and after.upper() in ("OUTFILE", "INFILE") and rest[0].kind == "word":
        raise refuse(ACCESS_DENIED, f"{token.text} {after} is refused here", hint="send data in the request's body")
    if token.kind == "quoted" and _PATH_LIKE.search(token.text):
        raise _refused_path(token.text)


def _refused_path(name: str) -> ClickHouseError:
    return refuse(ACCESS_DENIED, f"identifier `{name}` looks like a file and is refused here", hint="name a table")


def _format_of(found: Sequence[Token]) -> str:
    """The name after the last FORMAT that ends the statement or is followed by SETTINGS."""
    for index in range(len(found) - 2, 0, -1):
        last = index + 2 == len(found) or found[index + 2].word() == "SETTINGS"
        if found[index].word() == "FORMAT" and last and found[index + 1].kind in ("word", "quoted"):
            return found[index + 1].text
    return ""
