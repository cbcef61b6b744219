"""ClickHouse's HTTP interface over the embedded engine: an ASGI application that never blocks the event loop.

A request: read a bounded prefix of the body (decompressed as it comes) → find out whether an INSERT's rows follow → wait for a
slot of its lane (queries and inserts have their own, so that slow boards do not stop sinks) → run in a worker thread. Rows of
an INSERT go to the engine in pieces as they arrive, results go out chunk by chunk as the client takes them. Full lanes answer
503 with code 202. `/ping` and `/healthz` take no slot. A failure after the first bytes of a result ends the connection
without the last chunk, after the error's text, as ClickHouse does: a client cannot take a part for the whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from headrace.core.log import get_logger
from headrace.serve import olap_errors, olap_sql
from headrace.serve.olap_body import Body
from headrace.serve.olap_engine import Engine, Insert, Inserter, Query, Result
from headrace.serve.olap_errors import ClickHouseError, refuse

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HEAD_BYTES_MAX = 262_144  # ClickHouse's max_query_size: where a statement, or the head of an INSERT, must end
INSERT_PIECE_BYTES = 1_048_576  # rows handed to the engine at once; each open INSERT holds at most two of these
_OWN_PARAMETERS = frozenset(
    (
        *(
            "query",
            "database",
            "default_format",
            "user",
            "password",
            "query_id",
            "session_id",
            "compress",
            "decompress",
        ),
        *("enable_http_compression", "wait_end_of_query", "buffer_size", "role", "quota_key", "stacktrace"),
    )
)

log = get_logger("headrace.serve.olap")


class LaneLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many run at once in each lane, and how many more may wait in it."""

    queries: int
    inserts: int
    waiting: int


class _Lane:
    """Slots with a bounded queue in front."""

    def __init__(self, name: str, slots: int, waiting: int) -> None:
        self._name = name
        self._slots = asyncio.Semaphore(slots)
        self._room = slots + waiting
        self._present = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot; raises ClickHouseError (202) at once when the queue is full."""
        if self._present >= self._room:
            raise refuse(
                olap_errors.TOO_MANY_QUERIES,
                f"too many simultaneous {self._name}, at most {self._room} run or wait",
                hint="send fewer at once and retry",
            )
        self._present += 1
        try:
            async with self._slots:
                yield
        finally:
            self._present -= 1


class _Asked(msgspec.Struct, frozen=True):
    """A request's parameters, sorted by what they are for."""

    query: str
    database: str
    default_format: str
    settings: dict[str, str]
    parameters: dict[str, str]
    query_id: str


class OlapApp:
    """The ASGI application.

    Args:
        engine: the embedded engine.
        lanes: how much runs at once.
        body_bytes_max: the largest body, after decompression.
    """

    def __init__(self, engine: Engine, lanes: LaneLimits, *, body_bytes_max: int) -> None:
        self._engine = engine
        self._queries = _Lane("queries", lanes.queries, lanes.waiting)
        self._inserts = _Lane("inserts", lanes.inserts, lanes.waiting)
        # Admission of a statement takes a thread too, for about a millisecond, before its slot.
        self._threads = ThreadPoolExecutor(lanes.queries + lanes.inserts + 2, thread_name_prefix="olap")
        self._body_bytes_max = body_bytes_max

    def close(self) -> None:
        """Stop taking work; running calls end by themselves or with the engine."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if path == "/ping":
            await _answer(send, 200, b"Ok.\n")
        elif path == "/healthz":
            await _answer(send, 200, b'{"ok":true}', content_type="application/json")
        elif path not in ("/", "/query") or method not in ("GET", "POST", "PUT", "HEAD"):
            await _answer(send, 404, f"There is no handle {path}\n\nUse / or /ping.\n".encode())
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            asked = _read_parameters(scope)
            body = Body(receive, _header(scope, b"content-encoding"), bytes_max=self._body_bytes_max)
            await self._dispatch(asked, body, scope["method"], send)
        except ClickHouseError as error:
            log.info("olap_request_failed", code=error.code, text=error.text[:300])
            await _answer_error(send, error)

    async def _dispatch(self, asked: _Asked, body: Body, method: str, send: Send) -> None:
        head = olap_sql.split_insert(asked.query) if asked.query else None
        if head is not None:
            inline = asked.query[head.data_at :].encode("utf-8", "surrogateescape")
            await self._insert(asked, head, inline, body, send)
            return
        prefix = await body.peek(HEAD_BYTES_MAX)
        joiner = "\n" if asked.query and prefix else ""
        text = asked.query + joiner + prefix.decode("utf-8", "surrogateescape")
        head = olap_sql.split_insert(text)
        if head is not None:
            inline = text[head.data_at :].encode("utf-8", "surrogateescape")
            await self._insert(asked, head, inline, body, send)
            return
        if not body.ended:
            raise refuse(olap_errors.SYNTAX_ERROR, f"query is longer than {HEAD_BYTES_MAX} bytes")
        await self._query(asked, text, method, body, send)

    async def _query(self, asked: _Asked, text: str, method: str, body: Body, send: Send) -> None:
        if not text.strip():
            raise refuse(olap_errors.SYNTAX_ERROR, "empty query", hint="put it into ?query= or the body")
        query = Query(
            sql=text,
            database=asked.database,
            default_format=asked.default_format,
            settings=asked.settings,
            parameters=asked.parameters,
        )
        reads_only = method in ("GET", "HEAD")
        async with self._queries.slot():
            answer = await self._call(lambda: self._engine.answer(query, reads_only=reads_only))
            extra = [(b"x-clickhouse-format", answer.output.name.encode()), *_query_id(asked)]
            if answer.rest is None:
                content_type = answer.output.content_type
                await _answer(send, 200, b"".join(answer.head), content_type=content_type, extra=extra)
                return
            await _start(send, 200, content_type=answer.output.content_type, extra=extra)
            try:
                await self._stream(answer.head, answer.rest, body, send)
            finally:
                await asyncio.shield(self._call(answer.rest.close))

    async def _stream(self, head: list[bytes], rest: Result, body: Body, send: Send) -> None:
        """Send chunks as the client takes them; a failure here ends the connection."""
        gone = asyncio.ensure_future(body.gone())
        try:
            for chunk in head:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            while not gone.done() and (more := await self._call(rest.next_chunk)) is not None:
                await send({"type": "http.response.body", "body": more, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except ClickHouseError as error:
            await send({"type": "http.response.body", "body": f"\n{error.text}\n".encode(), "more_body": True})
            log.warning("olap_result_cut", code=error.code, text=error.text[:300])
            raise ConnectionAbortedError("query failed after its first rows") from error
        finally:
            gone.cancel()

    async def _insert(self, asked: _Asked, head: olap_sql.InsertHead, inline: bytes, body: Body, send: Send) -> None:
        first = inline + await body.read(INSERT_PIECE_BYTES)
        insert = Insert(head=head.head, format=head.format, database=asked.database, settings=asked.settings)
        async with self._inserts.slot():
            if body.ended:
                written = await self._call(lambda: _insert_whole(self._engine.insert(insert), first))
            else:
                inserter = await self._call(lambda: self._engine.insert(insert))
                try:
                    piece = first
                    while piece:
                        await self._call(_appender(inserter, piece))
                        piece = await body.read(INSERT_PIECE_BYTES)
                    written = await self._call(inserter.finish)
                except BaseException:
                    await asyncio.shield(self._call(inserter.cancel))
                    raise
        summary = f'{{"written_rows":"{written.rows}","written_bytes":"{written.bytes}"}}'.encode()
        await _answer(send, 200, b"", extra=[(b"x-clickhouse-summary", summary), *_query_id(asked)])

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _insert_whole(inserter: Inserter, data: bytes) -> Any:
    """The common case in one hop to a thread: all rows are here."""
    try:
        if data:
            inserter.append(data)
        return inserter.finish()
    except ClickHouseError:
        inserter.cancel()
        raise


def _appender(inserter: Inserter, piece: bytes) -> Callable[[], None]:
    return lambda: inserter.append(piece)


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _read_parameters(scope: Scope) -> _Asked:
    try:
        pairs = dict(
            parse_qsl(
                scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict", strict_parsing=False
            )
        )
    except (UnicodeDecodeError, ValueError) as error:
        raise refuse(olap_errors.SYNTAX_ERROR, f"query string is not UTF-8: {error}") from error
    parameters = {key[len("param_") :]: value for key, value in pairs.items() if key.startswith("param_")}
    settings = {k: v for k, v in pairs.items() if k not in _OWN_PARAMETERS and not k.startswith("param_")}
    return _Asked(
        query=pairs.get("query", ""),
        database=pairs.get("database") or _header(scope, b"x-clickhouse-database") or "default",
        default_format=pairs.get("default_format") or _header(scope, b"x-clickhouse-format") or "TabSeparated",
        settings=settings,
        parameters=parameters,
        query_id=pairs.get("query_id", ""),
    )


def _query_id(asked: _Asked) -> list[tuple[bytes, bytes]]:
    safe = asked.query_id.isascii() and asked.query_id.isprintable()
    return [(b"x-clickhouse-query-id", asked.query_id.encode())] if asked.query_id and safe else []


async def _start(send: Send, status: int, *, content_type: str, extra: list[tuple[bytes, bytes]] | None = None) -> None:
    headers = [(b"content-type", content_type.encode()), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _answer(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: str = "text/plain; charset=UTF-8",
    extra: list[tuple[bytes, bytes]] | None = None,
) -> None:
    length = (b"content-length", str(len(body)).encode())
    await _start(send, status, content_type=content_type, extra=[length, *(extra or [])])
    await send({"type": "http.response.body", "body": body})


async def _answer_error(send: Send, error: ClickHouseError) -> None:
    code = (b"x-clickhouse-exception-code", str(error.code).encode())
    body = error.text.encode("utf-8", "replace") + b"\n"
    # The rest of a refused body is not read; the connection cannot be used again.
    await _answer(send, error.status, body, extra=[code, (b"connection", b"close")])
