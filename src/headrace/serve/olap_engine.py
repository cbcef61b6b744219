"""The embedded ClickHouse engine (chDB), as the OLAP host uses it: all blocking, called from worker threads.

One process holds one directory. `Engine` keeps a root connection open so that the engine lives; each request opens its own
connection (measured: 0.3 ms), because a connection runs one statement at a time and carries settings and the current database.
Results are pulled in chunks of the engine's blocks (65,409 rows), inserts are pushed in chunks; neither is ever whole in memory,
except results in formats that are one document (JSON, Parquet, …), which are limited in size.

Invariant: `judge` has seen the canonical text of every statement before it runs (see `olap_sql`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from chdb import _chdb as _native

from headrace.core.errors import Unavailable
from headrace.serve import olap_errors, olap_formats, olap_sql
from headrace.serve.olap_errors import ClickHouseError, from_engine, refuse

_chdb: Any = _native  # the extension module comes without types
VERDICTS_KEPT = 512  # distinct statements; a few hundred bytes each, well under 1 MB
DOCUMENT_ROWS_MAX = 1_000_000  # besides bytes, because the engine counts a constant column once, not per row
_VERDICT_TEXT_LIMIT = 4_096  # longer statements are generated ones that do not come again
_NOT_STREAMABLE = "Streaming query is not supported"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one query may take: seconds, bytes of memory, bytes of a result that cannot be streamed."""

    timeout_s: float
    memory_bytes: int
    result_bytes: int


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A statement to run, with its surroundings; `settings` are ClickHouse's, `parameters` fill `{name:Type}`."""

    sql: str
    database: str = "default"
    default_format: str = "TabSeparated"
    settings: Mapping[str, str] = {}
    parameters: Mapping[str, str] = {}


class Insert(msgspec.Struct, frozen=True, kw_only=True):
    """An INSERT whose rows follow as bytes of `format`; `head` ends in the FORMAT clause."""

    head: str
    format: str
    database: str = "default"
    settings: Mapping[str, str] = {}


class Written(msgspec.Struct, frozen=True):
    """What an INSERT wrote, also into materialized views."""

    rows: int
    bytes: int


class Engine:
    """The engine on one directory.

    Args:
        path: the directory; made when missing.
        limits: for every query.

    Raises:
        Unavailable: the directory is in use by another process or cannot be opened.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = str(path)
        self._limits = limits
        self._lock = threading.Lock()
        self._verdicts: dict[str, tuple[str, olap_sql.Statement]] = {}
        path.mkdir(parents=True, exist_ok=True)
        try:
            self._root = _chdb.connect(self._path)
            names = self._text(self._root, "SELECT name FROM system.table_functions")
        except RuntimeError as error:
            hint = "stop the other process that uses it, or restore the directory from a copy"
            raise Unavailable(f"OLAP data cannot be opened: {error}", context={"path": path}, hint=hint) from error
        self._policy = olap_sql.policy_for(names.split())

    def close(self) -> None:
        """Cancel what still runs and close the directory in order."""
        try:
            self._root.query("KILL QUERY WHERE NOT startsWith(query, 'KILL') ASYNC", "Null")
        finally:
            self._root.close()

    def admit(self, sql: str) -> tuple[str, olap_sql.Statement]:
        """The canonical text of a statement and what it is.

        Raises:
            ClickHouseError: it does not parse or is not allowed.
        """
        known = self._verdicts.get(sql)
        if known is not None:
            return known
        quoted = sql.replace("\\", "\\\\").replace("'", "\\'")
        try:
            with self._lock:
                canonical = self._text(self._root, f"SELECT formatQuery('{quoted}')")
        except RuntimeError as error:
            raise _syntax_error(error) from error
        verdict = (canonical, olap_sql.judge(canonical, self._policy))
        if len(sql) <= _VERDICT_TEXT_LIMIT:
            if len(self._verdicts) >= VERDICTS_KEPT:
                self._verdicts.clear()
            self._verdicts[sql] = verdict
        return verdict

    def answer(self, query: Query, *, reads_only: bool) -> Answer:
        """Admit a statement, start it, and take its first two chunks: a small answer is complete in one call from one thread.

        Raises:
            ClickHouseError: not allowed, or failed so early.
        """
        _, statement = self.admit(query.sql)
        if reads_only and not statement.reads:
            raise refuse(olap_errors.READONLY, "method GET only reads", hint="send this statement with POST")
        result = self._run(query, statement)
        try:
            head = [chunk for chunk in (result.next_chunk(), result.next_chunk()) if chunk]
            if result.ended:
                result.close()
        except BaseException:
            result.close()
            raise
        return Answer(result.output, head, None if result.ended else result)

    def _run(self, query: Query, statement: olap_sql.Statement) -> Result:
        if statement.identifier_parameters:
            for value in query.parameters.values():
                olap_sql.check_identifier_value(value)
        connection = self._open(query.database, query.settings)
        try:
            return self._start(connection, query, statement)
        except RuntimeError as error:
            connection.close()
            raise from_engine(error) from error
        except BaseException:
            connection.close()
            raise

    def _start(self, connection: Any, query: Query, statement: olap_sql.Statement) -> Result:
        output = olap_formats.output_format(statement.format or query.default_format)
        parameters = dict(query.parameters)
        if output.streams and statement.verb in ("SELECT", "WITH", "FROM"):
            try:
                handle = connection.send_query(query.sql, output.name, params=parameters)
                return Result(connection, output, _chunks(connection, handle, output), _canceller(connection, handle))
            except RuntimeError as error:
                if _NOT_STREAMABLE not in str(error):
                    raise
        connection.query(
            f"SET max_result_bytes={self._limits.result_bytes}, max_result_rows={DOCUMENT_ROWS_MAX}, "
            "result_overflow_mode='throw'",
            "Null",
        )
        whole = connection.query(query.sql, output.name, params=parameters)
        return Result(connection, output, iter([bytes(whole.bytes())]), lambda: None)

    def insert(self, insert: Insert) -> Inserter:
        """Start an INSERT; push bytes, then `finish` or `cancel` it.

        Raises:
            ClickHouseError: not allowed, no such table or column, no such format.
        """
        canonical, _ = self.admit(insert.head)
        text = canonical.rstrip()
        bare = text[: text.upper().rfind("FORMAT")]
        connection = self._open(insert.database, insert.settings)
        try:
            return Inserter(connection, connection.send_insert(bare, insert.format))
        except RuntimeError as error:
            connection.close()
            raise from_engine(error) from error

    def _open(self, database: str, settings: Mapping[str, str]) -> Any:
        connection = _chdb.connect(self._path)
        try:
            wanted = {
                "max_execution_time": f"{self._limits.timeout_s:g}",
                "max_memory_usage": str(self._limits.memory_bytes),
                "input_format_skip_unknown_fields": "0",  # the server's default; chDB's would drop misspelt columns
            }
            wanted.update({name: _setting(name, value) for name, value in settings.items()})
            connection.query("SET " + ", ".join(f"{name}={value}" for name, value in wanted.items()), "Null")
            if database != "default":
                connection.query(f"USE `{database.replace('`', '')}`", "Null")
        except RuntimeError as error:
            connection.close()
            raise from_engine(error) from error
        except ClickHouseError:
            connection.close()
            raise
        return connection

    @staticmethod
    def _text(connection: Any, sql: str) -> str:
        return bytes(connection.query(sql, "TSVRaw").bytes()).decode("utf-8", "surrogateescape")


class Result:
    """A running query's output: iterate over `chunks`, then `close`; closing early cancels the query."""

    def __init__(
        self, connection: Any, output: olap_formats.Output, chunks: Iterator[bytes], cancel: Callable[[], None]
    ) -> None:
        self.output = output
        self._connection = connection
        self._chunks = chunks
        self._cancel = cancel
        self.ended = False

    def next_chunk(self) -> bytes | None:
        """The next bytes, None at the end.

        Raises:
            ClickHouseError: the query failed on its way.
        """
        try:
            chunk = None if self.ended else next(self._chunks, None)
        except RuntimeError as error:
            self.ended = True
            raise from_engine(error) from error
        self.ended = chunk is None
        return chunk

    def close(self) -> None:
        """Cancel what has not ended and give the connection back."""
        try:
            if not self.ended:
                self._cancel()
        except RuntimeError as error:
            raise from_engine(error) from error
        finally:
            self._connection.close()


class Answer(msgspec.Struct, frozen=True):
    """What a query answers: format, the first chunks, and the rest, which must be closed; None when there is no more."""

    output: olap_formats.Output
    head: list[bytes]
    rest: Result | None


class Inserter:
    """A running INSERT; rows are durable when `finish` returns."""

    def __init__(self, connection: Any, handle: Any) -> None:
        self._connection = connection
        self._handle = handle

    def append(self, data: bytes) -> None:
        """Push bytes; chunks need not end at a row's end. Raises ClickHouseError on rows the engine rejects."""
        try:
            self._connection.insert_append(self._handle, data)
        except RuntimeError as error:
            raise from_engine(error) from error

    def finish(self) -> Written:
        """Parse the rest and commit. Raises ClickHouseError; then nothing of the last block was written."""
        try:
            done = self._connection.insert_done(self._handle)
            return Written(done.rows_written(), done.bytes_written())
        except RuntimeError as error:
            raise from_engine(error) from error
        finally:
            self._connection.close()

    def cancel(self) -> None:
        """Give up; safe after a failed `append` or `finish`."""
        try:
            self._connection.insert_cancel(self._handle)
        except RuntimeError:
            return  # the engine had ended it already
        finally:
            self._connection.close()


def _chunks(connection: Any, handle: Any, output: olap_formats.Output) -> Iterator[bytes]:
    """Each chunk comes formatted as a document of its own: keep the first header, drop the others."""
    first = True
    while True:
        piece = connection.streaming_fetch_result(handle)
        if piece is None:
            return
        data = bytes(piece.bytes())
        if piece.rows_read() == 0:
            if first and data:
                yield data
            return
        yield data if first else data[output.header_bytes(data) :]
        first = False


def _canceller(connection: Any, handle: Any) -> Callable[[], None]:
    return lambda: connection.streaming_cancel_query(handle)


def _setting(name: str, value: str) -> str:
    if not name.replace("_", "").isalnum() or name in ("default_table_engine", "default_temporary_table_engine"):
        raise refuse(olap_errors.ACCESS_DENIED, f"setting {name} is refused here")
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{quoted}'"


def _syntax_error(error: RuntimeError) -> ClickHouseError:
    """The engine's own words, without the query we wrapped around the user's."""
    found = from_engine(error)
    text = found.text.partition(": In scope SELECT formatQuery")[0]
    if not text.endswith(")"):
        text += ". (SYNTAX_ERROR)"
    return ClickHouseError(found.code, text)
