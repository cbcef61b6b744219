"""The HLS Content Steering endpoint: `python -m headrace.serve.steering --home H --port P`.

A player polls `GET /v1/steering/{app}?sid=...` (and adds `_HLS_pathway`, `_HLS_throughput`) and gets the order of CDNs for its session
(draft-pantos-hls-rfc8216bis). A poll touches memory only: weights come from `SteeringTable`, which a background loop renews.

The answer is always 200 with an order that can be used: hls.js stops steering for good at 410 and 429, and retries late at 5xx.
A session without `sid` is known by its client's address. Polls are spread by a TTL jittered per session. Anything wrong with
a poll is counted, never refused. Raw ASGI, because a framework's share of 0.1 ms a poll would be most of the cost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote, unquote_to_bytes

import msgspec
import uvicorn
import uvloop

from headrace.core.clock import Clock, SystemClock
from headrace.core.config import Options, load_options, option, options
from headrace.core.errors import HeadraceError, Invalid, Unavailable
from headrace.core.home import Home, resolve_home
from headrace.core.log import get_logger, setup_logging
from headrace.serve.assign import jitter_ttl, priority
from headrace.serve.decisions import DecisionStore, open_redis
from headrace.serve.steering_table import SteeringTable

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

STOP_S = 3  # for polls in work; the supervisor allows five in all
SID_MAX = 512  # bytes that count; longer ids are cut, not refused
ORDERS_MAX = 4_096  # rendered orders kept: 6 CDNs have 720
PREFIX = "/v1/steering/"
_log = get_logger("headrace.serve.steering")


@options("serve.steering")
class SteeringOptions(Options, frozen=True):
    """Settings of the steering endpoint."""

    refresh_s: Annotated[
        float,
        option("How often weights are read from Redis; shorter passes decisions on sooner.", unit="s", ge=0.1, le=10),
    ] = 0.5
    trusted_proxies: Annotated[str, option("Networks whose X-Forwarded-For is believed, separated by commas.")] = (
        "127.0.0.0/8,::1/128"
    )


class Stats(msgspec.Struct):
    """Counters since the start.

    Args:
        polls: requests for a steering manifest, all answered 200.
        without_sid: of these, without a session id.
        undecided: of these, answered from the default weights because nothing was decided for the cell.
        failed: of these, answered with the default order after an error here.
        refreshes: good reads of Redis.
        refresh_failures: reads of Redis that failed; the last good weights are served on.
        damaged_records: records in Redis that could not be read; the cell keeps its last good one.
        refresh_age_s: how old the last good read of Redis is, s; -1 if there was none.
        sources: polls by where the weights came from.
        by_first: polls by the CDN that came first.
    """

    polls: int = 0
    without_sid: int = 0
    undecided: int = 0
    failed: int = 0
    refreshes: int = 0
    refresh_failures: int = 0
    damaged_records: int = 0
    refresh_age_s: float = -1.0
    sources: dict[str, int] = {}
    by_first: dict[str, int] = {}


class Proxies:
    """Whose `X-Forwarded-For` is believed, and who the client is."""

    def __init__(self, networks: Iterable[str]) -> None:
        try:
            self._networks = [ipaddress.ip_network(one.strip()) for one in networks if one.strip()]
        except ValueError as error:
            raise Invalid(
                f"not a network: {error}",
                hint="headrace.serve.steering.trusted-proxies is a list such as 127.0.0.0/8,::1/128",
            ) from error

    def client(self, peer: str, forwarded: str) -> str:
        """The last address in the chain that is no trusted proxy, else the first of it, else the peer."""
        address = peer
        for hop in reversed(forwarded.split(",") if forwarded else ()):
            if not self._trusts(address):
                break
            address = hop.strip()
        return address

    def _trusts(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks)


class SteeringApp:
    """The ASGI application and its background loop."""

    def __init__(self, table: SteeringTable, store: DecisionStore, *, settings: SteeringOptions, clock: Clock) -> None:
        self._table, self._store, self._settings, self._clock = table, store, settings, clock
        self._proxies = Proxies(settings.trusted_proxies.split(","))
        self._orders: dict[tuple[str, ...], bytes] = {}
        self._refreshed_s: float | None = None
        self._was_reachable = True
        self.stats = Stats()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            body, content_type = self._route(scope)
            await send({"type": "http.response.start", "status": 200, "headers": _headers(body, content_type)})
            await send({"type": "http.response.body", "body": body})

    def _route(self, scope: Scope) -> tuple[bytes, bytes]:
        path: str = scope["path"]
        if path == "/healthz":
            return b'{"ok":true}', _JSON
        if path == "/v1/stats":
            return msgspec.json.encode(self._fresh_stats()), _JSON
        if scope["method"] == "OPTIONS":
            return b"", _JSON
        self.stats.polls += 1
        try:
            return self._poll(scope, path), _MANIFEST
        except Exception as error:  # boundary: a poll must get an answer, whatever is wrong with it or with us
            self.stats.failed += 1
            _log.error("poll_failed", exc=error)
            return self._manifest(
                path, "", sorted(self._table.answer(self._table.locate("")).weights), ttl_s=10
            ), _MANIFEST

    def _poll(self, scope: Scope, path: str) -> bytes:
        client = self._client(scope)
        sid = _sid(scope["query_string"])
        if not sid:
            self.stats.without_sid += 1
        answer = self._table.answer(self._table.locate(client))
        if answer.source == "default":
            self.stats.undecided += 1
        session = sid or f"address:{client}"
        order = priority(session, answer.weights)
        self.stats.by_first[order[0]] = self.stats.by_first.get(order[0], 0) + 1
        return self._manifest(path, sid, order, ttl_s=jitter_ttl(session, answer.ttl_s))

    def _manifest(self, path: str, sid: str, order: Sequence[str], *, ttl_s: int) -> bytes:
        key = tuple(order)
        listed = self._orders.get(key)
        if listed is None:
            if len(self._orders) >= ORDERS_MAX:
                self._orders.clear()
            listed = self._orders[key] = msgspec.json.encode(order)
        reload_path = quote(path) if path.startswith(PREFIX) else f"{PREFIX}default"
        query = f"?sid={quote(sid, safe='')}" if sid else ""
        return b'{"VERSION":1,"TTL":%d,"RELOAD-URI":"%s","PATHWAY-PRIORITY":%s}' % (
            ttl_s,
            (reload_path + query).encode(),
            listed,
        )

    def _client(self, scope: Scope) -> str:
        peer = scope["client"][0] if scope.get("client") else ""
        forwarded = ""
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                forwarded = value.decode("latin-1")
        return self._proxies.client(peer, forwarded) if forwarded else peer

    def _fresh_stats(self) -> Stats:
        self.stats.sources = self._table.sources()
        if self._refreshed_s is not None:
            self.stats.refresh_age_s = round(self._clock.monotonic_s() - self._refreshed_s, 3)
        return self.stats

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._table.refresh_dims()
        self._table.load(now_ms=self._clock.now_ms())
        await self.refresh()
        loop = asyncio.create_task(self._refresh_for_ever())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loop
        self._table.save(now_s=self._clock.monotonic_s(), at_once=True)
        await self._store.close()
        _log.info("steering_stopped", polls=self.stats.polls)
        await send({"type": "lifespan.shutdown.complete"})

    async def _refresh_for_ever(self) -> None:
        while True:
            await self._clock.sleep_async(self._settings.refresh_s)
            try:
                await self.refresh()
            except Exception as error:  # loop top: count, log, go on
                self.stats.refresh_failures += 1
                _log.error("refresh_failed", exc=error)

    async def refresh(self) -> None:
        """Read dims and Redis once; without Redis the last good answers stay, rendered anew because they age."""
        self._table.refresh_dims()
        try:
            records, damaged = await self._store.load(self._table.cells)
        except Unavailable as error:
            records, damaged = {}, []
            self.stats.refresh_failures += 1
            if self._was_reachable:
                _log.warning("decisions_unreachable", error=str(error), kept="last good answers")
            self._was_reachable = False
        else:
            if not self._was_reachable:
                _log.info("decisions_reachable")
            self._was_reachable = True
            self.stats.refreshes += 1
            self._refreshed_s = self._clock.monotonic_s()
        for one in damaged:
            if self.stats.damaged_records == 0:
                _log.warning("decision_damaged", error=str(one), kept="last good answer")
            self.stats.damaged_records += 1
        self._table.update(records, now_ms=self._clock.now_ms())
        self._table.save(now_s=self._clock.monotonic_s())


_JSON = b"application/json"
_MANIFEST = b"application/json"


def _headers(body: bytes, content_type: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-methods", b"GET, OPTIONS"),
        (b"access-control-allow-headers", b"*"),
    ]


def _sid(query: bytes) -> str:
    """The parameter `sid`, percent-decoded, at most SID_MAX bytes; "" if there is none. Bytes that are no UTF-8 are kept apart."""
    for part in query.split(b"&"):
        if part.startswith(b"sid="):
            raw = part[4 : 4 + 3 * SID_MAX]
            if b"%" in raw or b"+" in raw:
                raw = unquote_to_bytes(raw.replace(b"+", b" "))
            return raw[:SID_MAX].decode("utf-8", "replace")
    return ""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        Unavailable: the port is taken, or the address is not ours.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"cannot listen: {error.strerror}",
            context={"address": f"{host}:{port}"},
            hint="end the process that has the port, or choose another with --port",
        ) from error
    return listener


def build_app(home: Home, *, redis: str, settings: SteeringOptions, clock: Clock) -> SteeringApp:
    """The application of one home."""
    table = SteeringTable(home.data / "dims", home.data / "steering" / "last.json", log=_log)
    return SteeringApp(table, DecisionStore(open_redis(redis)), settings=settings, clock=clock)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="headrace.serve.steering", description="Tell players which CDN to use.")
    parser.add_argument("--home", help="the stack's folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--redis", help="host:port; read from the stack if left out")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; gives the exit code."""
    arguments = _arguments(argv)
    setup_logging()
    home = resolve_home(arguments.home)
    try:
        settings = load_options(SteeringOptions, env=os.environ)
        redis = arguments.redis or home.load_stack().endpoints.redis
        app = build_app(home, redis=redis, settings=settings, clock=SystemClock())
        listener = bind(arguments.host, arguments.port)
    except HeadraceError as error:
        _log.error("steering_not_started", error=str(error))
        return 1
    config = uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=2048,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=STOP_S,
    )
    # uvicorn raises the signals that stopped it once more when it is done; by then there is nothing left to do.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _log.info("steering_started", host=arguments.host, port=arguments.port, redis=redis)
    uvloop.run(uvicorn.Server(config).serve(sockets=[listener]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
