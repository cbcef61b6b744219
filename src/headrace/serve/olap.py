"""The OLAP host process: the embedded ClickHouse engine on `<home>/data/olap` behind ClickHouse's HTTP interface.

    python -m headrace.serve.olap --home H --port P

Parts: `olap_engine` (chDB), `olap_sql` (what is allowed), `olap_http` (the face), `olap_body`, `olap_formats`, `olap_errors`.
One process, because the engine allows one directory in one process. SIGTERM ends open requests, then closes the engine;
after `kill -9` everything that was acknowledged is there again (MergeTree parts are renamed into place when complete).
It does not: authenticate (it listens on the loopback address), keep sessions, or replicate. For that use ClickHouse itself:
whatever talks to this host talks to it as well.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Annotated

import uvicorn

from headrace.core.config import Options, load_options, option, options
from headrace.core.errors import HeadraceError, Unavailable
from headrace.core.home import Home, resolve_home
from headrace.core.log import get_logger, setup_logging
from headrace.serve.olap_engine import Engine, Limits
from headrace.serve.olap_http import LaneLimits, OlapApp

GRACE_S = 3  # open requests get this long at SIGTERM; the supervisor waits 5 s in all

log = get_logger("headrace.serve.olap")


@options("serve.olap")
class OlapOptions(Options, frozen=True):
    """Limits of the OLAP host."""

    query_timeout_s: Annotated[
        float,
        option(
            "How long a query may run; longer ones end with code 159. Higher lets heavy reports through.",
            unit="s",
            ge=1,
        ),
    ] = 60.0
    concurrent_queries: Annotated[
        int, option("Queries that run at once; more share the same cores and memory.", ge=1, le=64)
    ] = 6
    concurrent_inserts: Annotated[
        int, option("INSERTs that run at once, apart from queries, so that boards cannot stop sinks.", ge=1, le=64)
    ] = 4
    waiting: Annotated[
        int, option("Requests that may wait for a slot of each lane; further ones get 503 at once.", ge=0, le=4096)
    ] = 64
    query_memory_bytes: Annotated[
        int, option("Memory one query may take; beyond, it ends with code 241.", unit="bytes", ge=16_777_216)
    ] = 2_147_483_648
    document_bytes: Annotated[
        int,
        option("Largest result in a format that cannot be streamed (JSON, Parquet, …).", unit="bytes", ge=65_536),
    ] = 67_108_864
    body_bytes: Annotated[
        int, option("Largest body of one request after decompression.", unit="bytes", ge=1_048_576)
    ] = 4_294_967_296


def build_app(home: Home, limits: OlapOptions) -> tuple[Engine, OlapApp]:
    """Open the engine of a home and put the HTTP face in front of it.

    Raises:
        Unavailable: the data directory cannot be opened.
    """
    engine = Engine(
        home.data / "olap",
        Limits(
            timeout_s=limits.query_timeout_s,
            memory_bytes=limits.query_memory_bytes,
            result_bytes=limits.document_bytes,
        ),
    )
    lanes = LaneLimits(queries=limits.concurrent_queries, inserts=limits.concurrent_inserts, waiting=limits.waiting)
    return engine, OlapApp(engine, lanes, body_bytes_max=limits.body_bytes)


def bind(port: int) -> socket.socket:
    """Take the port before the engine opens, so that a clash is told at once.

    Raises:
        Unavailable: the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"cannot listen: {error}", context={"port": port}, hint="choose another port or stop what uses it"
        ) from error
    return listener


class _Server(uvicorn.Server):
    """Uvicorn's server, except that it does not raise the signal again when it has ended: the engine is to be closed then."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ask the loop, not the interpreter, for the signals."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def serve(home: Home, limits: OlapOptions, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then close the engine in order."""
    engine, app = build_app(home, limits)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=75,
        h11_max_incomplete_event_size=1_048_576,
    )
    log.info("olap_ready", path=home.data / "olap", port=listener.getsockname()[1])
    try:
        await _Server(config).serve(sockets=[listener])
    finally:
        app.close()
        engine.close()
        log.info("olap_closed")


def main(arguments: list[str] | None = None) -> int:
    """Entry of the process; returns its exit code."""
    parser = argparse.ArgumentParser(prog="headrace.serve.olap", description="OLAP host (embedded ClickHouse engine)")
    parser.add_argument("--home", help="the stack's folder")
    parser.add_argument("--port", type=int, required=True, help="port on the loopback address")
    chosen = parser.parse_args(arguments)
    setup_logging()
    home = resolve_home(chosen.home)
    try:
        listener = bind(chosen.port)
        limits = load_options(OlapOptions, env=os.environ)
        empty = home.tmp / "olap-cwd"  # relative names in a query must not find files of the caller's folder
        empty.mkdir(parents=True, exist_ok=True)
        os.chdir(empty)
        asyncio.run(serve(home, limits, listener))
    except HeadraceError as error:
        log.error("olap_failed", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
