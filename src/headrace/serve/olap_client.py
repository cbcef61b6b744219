"""A typed client of the OLAP host, and of any ClickHouse that speaks the same HTTP interface.

`OlapClient` blocks, `AsyncOlapClient` does not; both share the pure halves `_request` and `_check`. A query's rows arrive as one
dict a row (`JSONEachRow`); parameters travel apart from the text (`{region:String}` in SQL, `params={"region": "north"}`), so no
caller quotes values. Rows are inserted as `JSONEachRow`, gzipped above `GZIP_ABOVE_BYTES`, and are durable when `insert` returns.
Nothing is retried here: a failed call says through its kind (`Unavailable`, `Throttled` are retryable) whether that helps.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from headrace.core.errors import HeadraceError, Internal, Invalid, NotFound, Throttled, Unavailable, Unsupported

GZIP_ABOVE_BYTES = 16_384  # below, one write fits a socket buffer and gzip only costs time
DEFAULT_TIMEOUT = timedelta(seconds=30)
_TOO_MANY_QUERIES = 202
_UNKNOWN_OBJECT = frozenset({60, 81})  # UNKNOWN_TABLE, UNKNOWN_DATABASE
_TIMED_OUT = frozenset({159, 160})
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")

Row = dict[str, Any]


class _Request(msgspec.Struct, frozen=True):
    params: dict[str, str]
    content: bytes
    headers: dict[str, str]


def _request(sql: str, *, database: str, params: Mapping[str, object] | None = None) -> _Request:
    values = {f"param_{name}": str(value) for name, value in (params or {}).items()}
    return _Request({"database": database, "default_format": "JSONEachRow", **values}, sql.encode(), {})


def _insert_request(table: str, rows: Iterable[object], *, database: str) -> _Request:
    if not _IDENTIFIER.fullmatch(table):
        raise Invalid("not a table name", context={"table": table}, hint="letters, digits and _, or database.table")
    body = b"\n".join(map(msgspec.json.encode, rows))
    headers = {}
    if len(body) > GZIP_ABOVE_BYTES:
        body, headers = gzip.compress(body, compresslevel=1), {"Content-Encoding": "gzip"}
    return _Request({"database": database, "query": f"INSERT INTO {table} FORMAT JSONEachRow"}, body, headers)


def _check(response: httpx.Response) -> bytes:
    if response.status_code == 200:
        return response.content
    code = int(response.headers.get("X-ClickHouse-Exception-Code") or 0)
    text = response.text.strip()[:2_000]
    context = {"status": response.status_code, "code": code}
    if code == _TOO_MANY_QUERIES:
        raise Throttled(text, operation="olap.query", context=context, hint="send fewer queries at once, then retry")
    if code in _UNKNOWN_OBJECT:
        raise NotFound(text, operation="olap.query", context=context, hint="list what exists: `SHOW TABLES`")
    if code in _TIMED_OUT:
        raise Unavailable(text, operation="olap.query", context=context, hint="narrow the query or raise its time-out")
    if response.status_code == 501:
        raise Unsupported(text, operation="olap.query", context=context)
    if response.status_code < 500:
        raise Invalid(text, operation="olap.query", context=context)
    if response.status_code in (502, 503, 504):
        raise Unavailable(text, operation="olap.query", context=context)
    raise Internal(text, operation="olap.query", context=context)


def _decode(content: bytes) -> list[Row]:
    return msgspec.json.decode(b"[" + b",".join(content.splitlines()) + b"]", type=list[Row])


def _unreachable(error: httpx.HTTPError, url: str) -> HeadraceError:
    return Unavailable(
        f"OLAP store does not answer: {error or type(error).__name__}",
        operation="olap.query",
        context={"url": url},
        hint="`headrace status` shows whether the process `olap` runs",
    )


class OlapClient:
    """Blocking client; keeps its connections open, close it or use it in `with`."""

    def __init__(self, url: str, *, database: str = "default", timeout: timedelta = DEFAULT_TIMEOUT) -> None:
        self._url = url
        self._database = database
        self._http = httpx.Client(base_url=url, timeout=timeout.total_seconds(), trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def ping(self) -> bool:
        """Whether the store answers."""
        try:
            return self._http.get("/ping").status_code == 200
        except httpx.HTTPError:
            return False

    def query(self, sql: str, *, params: Mapping[str, object] | None = None) -> list[Row]:
        """Run a query without a FORMAT clause and return its rows.

        Raises:
            Invalid: the query is wrong; NotFound: no such table or database.
            Throttled: too many queries at once; Unavailable: no answer or timed out; both retryable.
        """
        return _decode(self._send(_request(sql, database=self._database, params=params)))

    def execute(self, sql: str) -> None:
        """Run a statement that returns no rows (DDL, DELETE, …); raises as `query`."""
        self._send(_request(sql, database=self._database))

    def insert(self, table: str, rows: Iterable[object]) -> None:
        """Insert mappings or msgspec Structs; they are durable when this returns. Raises as `query`."""
        self._send(_insert_request(table, rows, database=self._database))

    def _send(self, request: _Request) -> bytes:
        try:
            return _check(self._http.post("/", params=request.params, content=request.content, headers=request.headers))
        except httpx.HTTPError as error:
            raise _unreachable(error, self._url) from error


class AsyncOlapClient:
    """The same for asyncio; close it or use it in `async with`."""

    def __init__(self, url: str, *, database: str = "default", timeout: timedelta = DEFAULT_TIMEOUT) -> None:
        self._url = url
        self._database = database
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout.total_seconds(), trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def ping(self) -> bool:
        """Whether the store answers."""
        try:
            return (await self._http.get("/ping")).status_code == 200
        except httpx.HTTPError:
            return False

    async def query(self, sql: str, *, params: Mapping[str, object] | None = None) -> list[Row]:
        """Run a query without a FORMAT clause and return its rows; raises as `OlapClient.query`."""
        return _decode(await self._send(_request(sql, database=self._database, params=params)))

    async def execute(self, sql: str) -> None:
        """Run a statement that returns no rows; raises as `OlapClient.query`."""
        await self._send(_request(sql, database=self._database))

    async def insert(self, table: str, rows: Iterable[object]) -> None:
        """Insert mappings or msgspec Structs; they are durable when this returns."""
        await self._send(_insert_request(table, rows, database=self._database))

    async def _send(self, request: _Request) -> bytes:
        try:
            return _check(
                await self._http.post("/", params=request.params, content=request.content, headers=request.headers)
            )
        except httpx.HTTPError as error:
            raise _unreachable(error, self._url) from error
