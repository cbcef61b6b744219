"""headraced: catalog, job host, journal and console behind one HTTP port.

`python -m headrace.console.daemon --home H [--port P]`. Start: open and migrate the store, repair what a crash left (published files, cut-off journal entries),
mark suspended jobs as wanted, start the reconciler, serve. SIGTERM ends the server and the loop, never a job: the data plane outlives us.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import uvicorn
from litestar import Litestar
from litestar.di import Provide
from litestar.static_files import create_static_files_router
from litestar.types import ControllerRouterHandler

from headrace.catalog.journal import Journal
from headrace.catalog.store import Store, open_store
from headrace.catalog.tables import TableCatalog
from headrace.connectors.external import Externals, KafkaTopics, OlapHttp
from headrace.console.api_catalog import EXCEPTION_HANDLERS, ROUTES, Services
from headrace.console.api_live import live_lifespan, live_routes
from headrace.console.live_server import LiveServer
from headrace.core.clock import Clock, SystemClock
from headrace.core.config import Options, load_options, option, options, read_toml
from headrace.core.errors import HeadraceError
from headrace.core.home import Home, StackInfo, resolve_home
from headrace.core.log import get_logger, setup_logging
from headrace.flink.driver_client import DriverClient
from headrace.flink.profile import job_config
from headrace.flink.rest import FlinkRest
from headrace.jobs.host import JobHost
from headrace.jobs.planning import Planner
from headrace.jobs.realize import Realizer
from headrace.jobs.reconciler import Reconciler
from headrace.jobs.repository import JobRepository
from headrace.jobs.rest_cluster import RestCluster
from headrace.sql.apply import TableApplier

log = get_logger("headrace.console")
STATIC = Path(__file__).with_name("static")
GRACEFUL_STOP_S = 3  # the supervisor waits 5 s before it kills


@options("console.daemon")
class DaemonOptions(Options, frozen=True):
    """Options of headraced."""

    host: Annotated[
        str, option("address to listen on; there is no login yet, so anything but loopback is for trusted nets")
    ] = "127.0.0.1"
    body_bytes_max: Annotated[
        int, option("largest request body; a project of 500 files of 8 KiB is 4 MiB", unit="bytes", ge=65_536)
    ] = 8 * 1024 * 1024


def build_services(home: Home, stack: StackInfo, store: Store, *, clock: Clock) -> Services:
    """Wire the parts together; connects to nothing yet."""
    endpoints = stack.endpoints
    externals = Externals(KafkaTopics(endpoints.kafka), OlapHttp(endpoints.olap))
    driver, cluster = DriverClient(endpoints.driver), RestCluster(FlinkRest(endpoints.flink, clock), clock)
    catalog, journal, jobs = TableCatalog(store), Journal(store, clock), JobRepository(store)
    planner = Planner(
        driver=driver,
        catalog=catalog,
        endpoints=endpoints,
        home=home,
        job_config=job_config(home),
        plans=home.data / "plans",
    )
    realizer = Realizer(
        jobs=jobs,
        journal=journal,
        driver=driver,
        cluster=cluster,
        planner=planner,
        home=home,
        clock=clock,
        new_flink_id=lambda: uuid.uuid4().hex,
    )
    host = JobHost(jobs=jobs, realizer=realizer, planner=planner, cluster=cluster, externals=externals, clock=clock)
    return Services(
        home=home,
        clock=clock,
        catalog=catalog,
        journal=journal,
        applier=TableApplier(driver, catalog, journal, externals, home, clock),
        host=host,
        planner=planner,
        reconciler=Reconciler(host, clock),
        started_at_ms=clock.now_ms(),
    )


def build_app(services: Services, settings: DaemonOptions) -> Litestar:
    """The ASGI application; its lifespan repairs, resumes and runs the reconciler."""

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        stop = threading.Event()
        loop = threading.Thread(target=_reconcile, args=(services, stop), name="reconciler", daemon=True)
        loop.start()
        log.info("headraced_started", home=str(services.home.root))
        yield
        stop.set()
        loop.join(GRACEFUL_STOP_S)
        log.info("headraced_stopped")

    routes: list[ControllerRouterHandler] = [*ROUTES, *live_routes]
    if (STATIC / "index.html").is_file():
        routes.append(create_static_files_router(path="/", directories=[STATIC], html_mode=True))
    return Litestar(
        route_handlers=routes,
        dependencies={"services": Provide(lambda: services, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[live_lifespan(services.home, clock=services.clock, journal=services.journal), lifespan],
        request_max_body_size=settings.body_bytes_max,
        openapi_config=None,
        logging_config=None,
    )


def _reconcile(services: Services, stop: threading.Event) -> None:
    """Repair, resume, then loop until told to stop; runs in its own thread so that serving starts at once."""
    try:
        cut_off = services.journal.close_cut_off()
        services.applier.publish_all()
        resumed = services.host.resume()
        log.info("state_repaired", journal_cut_off=cut_off, jobs_resumed=",".join(resumed))
    except Exception as error:
        log.error("repair_failed", exc=error)
    services.reconciler.run(stop)


def main(argv: list[str] | None = None) -> int:
    """Entry of the process; returns its exit code."""
    parser = argparse.ArgumentParser(prog="headraced", description="catalog, jobs and console of one stack")
    parser.add_argument("--home")
    parser.add_argument("--port", type=int)
    arguments = parser.parse_args(argv)
    setup_logging()
    try:
        home, clock = resolve_home(arguments.home), SystemClock()
        config = home.root / "headrace.toml"
        settings = load_options(DaemonOptions, document=read_toml(config) if config.is_file() else None, env=os.environ)
        stack = home.load_stack()
        store = open_store(home.database)
    except HeadraceError as error:
        log.error("headraced_cannot_start", kind=error.kind, reason=str(error))
        sys.stderr.write(msgspec.json.encode(error.body()).decode() + "\n")
        return 1
    port = arguments.port or urlsplit(stack.endpoints.headraced).port or 0
    app = build_app(build_services(home, stack, store, clock=clock), settings)
    server = uvicorn.Config(
        app,
        host=settings.host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACEFUL_STOP_S,
    )
    try:
        LiveServer(server).run()
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
