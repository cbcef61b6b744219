"""The beacon gateway's process: `python -m headrace.ingest.gateway --home H --port P`.

One process, one event loop: HTTP by uvicorn (uvloop, httptools), parsing and encoding in C through msgspec and `re`, Kafka by
librdkafka's own threads. Two loops besides: references are looked at every `REFRESH_S`, and the share of sessions to shed is
decided every `TICK_S`. On SIGTERM it stops accepting, lets requests in work get their acks, and leaves. If the
producer reports a fatal error (a fenced or broken idempotence state), the process ends and the supervisor starts a new one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import psutil
import uvicorn
import uvloop

from headrace.core.clock import Clock, SystemClock
from headrace.core.config import Options, load_options, option, options, read_toml
from headrace.core.errors import HeadraceError, Unavailable
from headrace.core.home import Home, resolve_home
from headrace.core.log import get_logger, setup_logging
from headrace.ingest.app import GatewayApp, HttpLimits
from headrace.ingest.budget import Budget
from headrace.ingest.enrich import Proxies
from headrace.ingest.intake import Intake, IntakeLimits
from headrace.ingest.ledger import Gauges, Ledger
from headrace.ingest.references import References
from headrace.ingest.shedding import Load, Shedding, ShedLimits, decide_shedding
from headrace.ingest.sink import KafkaSink

TICK_S = 0.25
REFRESH_S = 2.0
STOP_S = 3.0  # for requests in work; the supervisor allows five in all
FLUSH_S = 1.0
_log = get_logger("headrace.ingest.gateway")


@options("ingest.gateway")
class GatewayOptions(Options, frozen=True):
    """Limits of the beacon gateway."""

    budget_bytes: Annotated[
        int,
        option(
            "Bytes that requests in work and messages in flight may hold; more rides out longer Kafka pauses.",
            unit="bytes",
            ge=1 << 20,
        ),
    ] = 64 << 20
    max_body_bytes: Annotated[
        int, option("Largest body as sent; a larger one is a dead letter and answered 413.", unit="bytes", ge=1024)
    ] = 1 << 20
    max_inflated_bytes: Annotated[
        int, option("Largest body after decompression; bounds what a gzip bomb can cost.", unit="bytes", ge=1024)
    ] = 4 << 20
    max_line_bytes: Annotated[int, option("Longest beacon; a longer one is a dead letter.", unit="bytes", ge=64)] = 8192
    max_batch_rows: Annotated[
        int, option("Most beacons in one request; parsing holds up all other requests for about 10 us a beacon.", ge=1)
    ] = 5000
    skew_limit_ms: Annotated[
        int,
        option(
            "How far a beacon's time may lie from ours; wider keeps more late rows and more wrong clocks.",
            unit="ms",
            ge=1000,
        ),
    ] = 600_000
    linger_ms: Annotated[
        float,
        option(
            "How long the producer waits to fill a batch; more costs latency and saves the broker's CPU.",
            unit="ms",
            ge=0,
            le=1000,
        ),
    ] = 5.0
    delivery_timeout_ms: Annotated[
        int, option("How long a row may wait for Kafka before its sender is told 503.", unit="ms", ge=1000)
    ] = 8000
    compression: Annotated[
        str, option("Codec of Kafka batches: none, lz4, zstd, gzip or snappy; lz4 is the cheapest.")
    ] = "lz4"
    trusted_proxies: Annotated[str, option("Networks whose X-Forwarded-For is believed, separated by commas.")] = (
        "127.0.0.0/8,::1/128"
    )
    shed_high: Annotated[
        float,
        option(
            "Share of the budget above which sessions are shed; lower sheds earlier and keeps latency lower.",
            ge=0.05,
            le=1,
        ),
    ] = 0.5
    shed_low: Annotated[float, option("Share of the budget below which shedding is given back.", ge=0, le=1)] = 0.25
    max_connections: Annotated[int, option("Connections served at once; each costs up to 64 KiB of buffers.", ge=1)] = (
        8192
    )


class Gateway:
    """The parts of one gateway, wired."""

    def __init__(self, home: Home, settings: GatewayOptions, *, kafka: str, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._references = References(home.data)
        self._ledger = Ledger()
        self._budget = Budget(settings.budget_bytes, waiters_max=settings.max_connections)
        self._sink = KafkaSink(producer_config(settings, kafka=kafka), clock=clock)
        limits = IntakeLimits(
            line_bytes_max=settings.max_line_bytes,
            inflated_bytes_max=settings.max_inflated_bytes,
            batch_rows_max=settings.max_batch_rows,
            skew_limit_ms=settings.skew_limit_ms,
        )
        self._intake = Intake(
            self._references, self._sink, self._ledger, budget=self._budget, limits=limits, clock=clock
        )
        http = HttpLimits(
            body_bytes_max=settings.max_body_bytes,
            body_timeout_s=10.0,
            admit_timeout_s=settings.delivery_timeout_ms / 1000,
        )
        proxies = Proxies(settings.trusted_proxies.split(","))
        self.app = GatewayApp(
            self._intake, self._references, self._ledger, budget=self._budget, limits=http, proxies=proxies
        )
        self.app.gauges, self.app.on_start, self.app.on_stop = self._gauges, self._start, self._stop
        self._tasks: list[asyncio.Task[None]] = []
        self._lag_ms = 0.0
        self._process = psutil.Process()

    async def _start(self) -> None:
        self._refresh()
        self._sink.start()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._watch_load()), loop.create_task(self._watch_references())]

    async def _stop(self) -> None:
        left = await self._sink.close(FLUSH_S)
        for task in self._tasks:
            task.cancel()
        _log.info("gateway_stopped", messages_left=left, **_totals(self._ledger, self._gauges()))

    def _refresh(self) -> None:
        self._references.refresh()
        topics: dict[str, int] = {}
        for stream in self._references.streams():
            topics[stream.topic] = stream.partitions
            topics[stream.dead_letter_topic] = 1
        self._sink.ensure_topics(topics)

    async def _watch_references(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                self._refresh()
            except Exception as error:
                _log.error("refresh_failed", exc=error)

    async def _watch_load(self) -> None:
        limits = ShedLimits(high=self._settings.shed_high, low=self._settings.shed_low)
        shedding = Shedding()
        while True:
            before_s = self._clock.monotonic_s()
            await asyncio.sleep(TICK_S)
            self._lag_ms = max(0.0, (self._clock.monotonic_s() - before_s - TICK_S) * 1000)
            load = Load(self._budget.used, self._lag_ms, self._sink.stalled)
            shedding = decide_shedding(shedding, load, limits)
            if shedding.share != self._intake.shed_share:
                _log.info(
                    "shed_share",
                    share=round(shedding.share, 3),
                    was=round(self._intake.shed_share, 3),
                    used=round(load.used, 3),
                    lag_ms=round(load.lag_ms),
                )
            self._intake.shed_share = shedding.share
            if self._sink.fatal:
                _log.error("producer_fatal", error=self._sink.last_error)
                signal.raise_signal(signal.SIGTERM)

    def _gauges(self) -> Gauges:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Gauges(
            shed_share=self._intake.shed_share,
            in_flight_bytes=self._budget.used_bytes,
            budget_bytes=self._budget.limit_bytes,
            kafka_stalled=self._sink.stalled,
            sessions=len(self._intake.sessions),
            loop_lag_ms=self._lag_ms,
            rss_bytes=self._process.memory_info().rss,
            cpu_s=usage.ru_utime + usage.ru_stime,
        )


def producer_config(settings: GatewayOptions, *, kafka: str) -> dict[str, Any]:
    """Configure librdkafka: acks from all, idempotent, Java's partitioner; its queue never binds before our budget."""
    return {
        "bootstrap.servers": kafka,
        "client.id": "headrace-gateway",
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": settings.linger_ms,
        "compression.type": settings.compression,
        "message.timeout.ms": settings.delivery_timeout_ms,
        "request.timeout.ms": min(5000, settings.delivery_timeout_ms - 500),
        "message.max.bytes": 1_000_000,
        "queue.buffering.max.kbytes": 2 * settings.budget_bytes // 1024,
        "queue.buffering.max.messages": settings.budget_bytes // 100,
        "reconnect.backoff.max.ms": 1000,
        "api.version.request.timeout.ms": 3000,  # a frozen broker accepts connections and then says nothing
        "topic.metadata.propagation.max.ms": settings.delivery_timeout_ms,
        "log.connection.close": False,
    }


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


def _totals(ledger: Ledger, gauges: Gauges) -> dict[str, int]:
    stats = ledger.stats(gauges)
    return {name: getattr(stats, name) for name in ("received", "accepted", "dead", "shed", "returned")}


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="headrace.ingest.gateway", description="Take players' beacons into Kafka.")
    parser.add_argument("--home", help="the stack's folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--kafka", help="bootstrap servers; read from the stack if left out")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; gives the exit code."""
    arguments = _arguments(argv)
    setup_logging()
    home = resolve_home(arguments.home)
    try:
        config = home.root / "headrace.toml"
        document = read_toml(config) if config.exists() else None
        settings = load_options(GatewayOptions, document=document, env=os.environ)
        kafka = arguments.kafka or home.load_stack().endpoints.kafka
        listener = bind(arguments.host, arguments.port)
    except HeadraceError as error:
        _log.error("gateway_not_started", error=str(error))
        return 1
    gateway = Gateway(home, settings, kafka=kafka, clock=SystemClock())
    server = uvicorn.Config(
        gateway.app,
        loop="none",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=settings.max_connections,
        backlog=2048,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(STOP_S),
    )
    # uvicorn raises the signals that stopped it once more when it is done; by then there is nothing left to do.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _log.info("gateway_started", host=arguments.host, port=arguments.port, kafka=kafka)
    uvloop.run(uvicorn.Server(server).serve(sockets=[listener]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
