"""The gateway's HTTP face: a plain ASGI application (no framework: a request costs about as much as eight beacons already).

    POST /v1/beacons/{stream}    a batch; answers as headrace.ingest.intake says
    OPTIONS /v1/beacons/...      CORS preflight of browser players
    GET  /healthz                {"ok": true} as soon as the process serves; says also whether Kafka answers
    GET  /v1/stats               the books, as JSON
    GET  /metrics                the same for Prometheus

A body is read only after its declared length was admitted by the budget, and never beyond `max-body-bytes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from headrace.core.errors import HeadraceError, Invalid, NotFound, Unavailable, Unsupported
from headrace.core.log import get_logger
from headrace.ingest import reasons
from headrace.ingest.budget import Budget
from headrace.ingest.enrich import Proxies
from headrace.ingest.intake import RAW_BYTES_MAX, Answer, Batch, Intake
from headrace.ingest.ledger import Gauges, Ledger
from headrace.ingest.reasons import Problem
from headrace.ingest.references import References

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
_PREFIX = "/v1/beacons/"
_BODY_MIN_BYTES = 4096  # a body of unknown length holds this much until its first part is there
_EXPANSION = 4  # a CMCD line of 160 bytes becomes 300 bytes of JSON and 300 of overhead (bench/gateway.py)
_CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"cross-origin-resource-policy", b"cross-origin"),
]
_PREFLIGHT = [
    *_CORS,
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (b"access-control-allow-headers", b"content-type, content-encoding"),
    (b"access-control-max-age", b"86400"),
]
_log = get_logger("headrace.ingest.app")
_encoder = msgspec.json.Encoder()


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one request."""

    body_bytes_max: int
    body_timeout_s: float
    admit_timeout_s: float


class _Gone(Exception):
    """The client went away while it sent its body."""


class GatewayApp:
    """Routes requests; `on_start` and `on_stop` are awaited around the server's life."""

    def __init__(
        self,
        intake: Intake,
        references: References,
        ledger: Ledger,
        *,
        budget: Budget,
        limits: HttpLimits,
        proxies: Proxies,
    ) -> None:
        self._intake, self._references, self._ledger = intake, references, ledger
        self._budget, self._limits, self._proxies = budget, limits, proxies
        self.gauges: Callable[[], Gauges]
        self.on_start: Callable[[], Awaitable[None]]
        self.on_stop: Callable[[], Awaitable[None]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request, or the server's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            path: str = scope["path"]
            if path.startswith(_PREFIX):
                await self._beacons(scope, receive, send)
            else:
                await self._read(scope["method"], path, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.on_start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.on_stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _read(self, method: str, path: str, send: Send) -> None:
        if method not in ("GET", "HEAD"):
            await self._refuse(send, Invalid("wrong method", context={"method": method}, hint="GET this path"), 405)
        elif path == "/healthz":
            gauges = self.gauges()
            await _respond(
                send, 200, _encoder.encode({"ok": True, "kafka": "stalled" if gauges.kafka_stalled else "up"})
            )
        elif path == "/v1/stats":
            await _respond(send, 200, _encoder.encode(self._ledger.stats(self.gauges())))
        elif path == "/metrics":
            text = self._ledger.render_prometheus(self.gauges()).encode()
            await _respond(send, 200, text, content_type=b"text/plain; version=0.0.4")
        else:
            known = "POST /v1/beacons/{stream}, GET /healthz, /v1/stats, /metrics"
            await self._refuse(send, NotFound("no such path", context={"path": path[:256]}, hint=known), 404)

    async def _beacons(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method == "OPTIONS":
            await _start(send, 204, [*_PREFLIGHT, (b"content-length", b"0")])
            await send({"type": "http.response.body", "body": b""})
            return
        held = 0
        try:
            if method != "POST":
                raise Invalid("wrong method", context={"method": method}, hint="POST beacons to this path")
            head = _Head(scope)
            stream = self._references.stream(scope["path"][len(_PREFIX) :])
            held = self._share_of(head.length)
            if not self._budget.try_admit(held) and not await self._budget.admit(held, self._limits.admit_timeout_s):
                held = 0
                raise Unavailable("too much in flight", hint="kafka does not keep up; send the batch again")
            batch = Batch(stream, b"", head.content_type, head.is_gzip, "", head.user_agent, held)
            batch.address = self._proxies.client_address(scope["client"][0] if scope["client"] else "", head.forwarded)
            try:
                await self._fill(batch, head, receive)
                answer = await self._intake.take(batch)
            finally:
                held = batch.held_bytes
        except _Gone:
            self._ledger.add_refused("disconnected")
        except HeadraceError as error:
            await self._refuse(send, error, 405 if method != "POST" else error.http_status)
        else:
            self._ledger.add_request(answer.status)
            close = batch.problem is not None
            await _respond(send, answer.status, _encode_answer(answer), extra=_CLOSE if close else _CORS)
        finally:
            self._budget.release(held)

    def _share_of(self, length: int) -> int:
        """What a request is to hold of the budget at first: what its messages will probably weigh."""
        if length > self._limits.body_bytes_max:
            return 0  # will not be read
        wanted = _EXPANSION * length if length >= 0 else _BODY_MIN_BYTES
        return min(wanted, self._budget.limit_bytes // 4)

    async def _fill(self, batch: Batch, head: _Head, receive: Receive) -> None:
        """Read the body; notes a problem instead of reading on when it is too large."""
        limit = self._limits.body_bytes_max
        if head.length > limit:
            batch.problem = Problem(0, reasons.BODY_TOO_LARGE, f"{head.length} bytes, at most {limit}", b"")
            return
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        if not message.get("more_body"):
            batch.body = message["body"]
            return
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                await self._gather(batch, bytearray(message["body"]), receive)
        except TimeoutError as error:
            raise _SlowBody("the body did not arrive in time", hint="send it faster, or in smaller batches") from error

    async def _gather(self, batch: Batch, body: bytearray, receive: Receive) -> None:
        limit = self._limits.body_bytes_max
        more = True
        while more:
            if len(body) > limit:
                batch.problem = Problem(
                    0, reasons.BODY_TOO_LARGE, f"more than {limit} bytes", bytes(body[:RAW_BYTES_MAX])
                )
                return
            if len(body) > batch.held_bytes and not self._grow(batch, len(body)):
                raise Unavailable("too much in flight", hint="kafka does not keep up; send the batch again")
            message = await receive()
            if message["type"] != "http.request":
                raise _Gone
            body += message["body"]
            more = message.get("more_body", False)
        batch.body = bytes(body)
        if len(body) > limit:
            batch.problem = Problem(0, reasons.BODY_TOO_LARGE, f"more than {limit} bytes", batch.body[:RAW_BYTES_MAX])

    def _grow(self, batch: Batch, size: int) -> bool:
        wanted = max(size, 2 * batch.held_bytes)
        if not self._budget.resize(batch.held_bytes, wanted):
            return False
        batch.held_bytes = wanted
        return True

    async def _refuse(self, send: Send, error: HeadraceError, status: int) -> None:
        self._ledger.add_refused(_REFUSALS.get(type(error), "bad_request"))
        self._ledger.add_request(status)
        await _respond(send, status, _encoder.encode({"error": error.body()}), extra=_CLOSE)


class _SlowBody(HeadraceError):
    """The client sends too slowly: it keeps its beacons."""

    kind = "Invalid"
    http_status = 408


_CLOSE = [*_CORS, (b"connection", b"close")]  # the rest of the body is not read
_REFUSALS: dict[type[HeadraceError], str] = {
    NotFound: "unknown_stream",
    Unavailable: "over_budget",
    Unsupported: "unsupported_encoding",
    _SlowBody: "slow_body",
}


class _Head:
    """What the gateway reads of a request's headers.

    Raises:
        Unsupported: a content encoding that is not gzip.
    """

    __slots__ = ("content_type", "forwarded", "is_gzip", "length", "user_agent")

    def __init__(self, scope: Scope) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in (b"gzip", b"x-gzip", b"identity", b""):
            name = encoding[:64].decode("latin-1")
            raise Unsupported("unknown content encoding", context={"encoding": name}, hint="use gzip or none")
        self.is_gzip = encoding in (b"gzip", b"x-gzip")
        length = headers.get(b"content-length", b"")
        self.length = int(length) if length.isdigit() else -1
        self.content_type = headers.get(b"content-type", b"").decode("latin-1")
        self.user_agent = headers.get(b"user-agent", b"").decode("latin-1")[:512]
        self.forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1")


def _encode_answer(answer: Answer) -> bytes:
    if not answer.problems and not answer.returned:
        return b'{"accepted":%d,"dead":%d,"shed":%d}' % (answer.accepted, answer.dead, answer.shed)
    return _encoder.encode(answer)


async def _respond(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: bytes = b"application/json",
    extra: list[tuple[bytes, bytes]] = _CORS,
) -> None:
    length = (b"content-length", str(len(body)).encode())
    await _start(send, status, [(b"content-type", content_type), length, *extra])
    await send({"type": "http.response.body", "body": body})


async def _start(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
