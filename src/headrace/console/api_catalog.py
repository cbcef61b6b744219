"""HTTP face of catalog, job host and journal: decode, call one function, encode.

Handlers are sync and run in worker threads. Bodies are the Structs below; errors of any kind become `{"error": ErrorBody}` with the kind's status.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.params import FromPath, FromQuery, JSONBody, SkipValidation
from litestar.types import ExceptionHandlersMap

from headrace import __version__
from headrace.catalog.journal import Journal, JournalEntry
from headrace.catalog.tables import Entry, TableCatalog
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, Internal, Invalid, NotFound, nearest
from headrace.core.home import Home
from headrace.core.log import get_logger
from headrace.flink.protocol import Rows
from headrace.jobs.host import Deployed, JobDetail, JobHost, Suspended
from headrace.jobs.model import JobSummary, summary_of
from headrace.jobs.planning import Planner
from headrace.jobs.queries import run_query
from headrace.jobs.reconciler import Reconciler
from headrace.sql.apply import Applied, TableApplier
from headrace.sql.project import PROJECT_FILE, DimFile, Project, SourceFile, parse_project

log = get_logger("headrace.console")
LOCAL_TARGET = "local"
_JOB_CALLS = ("stop",)


@dataclass(frozen=True)
class Services:
    """The parts behind the routes, built once by the daemon."""

    home: Home
    clock: Clock
    catalog: TableCatalog
    journal: Journal
    applier: TableApplier
    host: JobHost
    planner: Planner
    reconciler: Reconciler
    started_at_ms: int


# The parts are handed over as they are: they are no data that Litestar could check.
Parts = NamedDependency[SkipValidation[Services]]


class ApplyBody(msgspec.Struct, frozen=True):
    """A project's tables and dims; with `headrace.toml` among the files, its name must be `project`."""

    project: str
    files: tuple[SourceFile, ...]
    dims: tuple[DimFile, ...] = ()


class DeployBody(msgspec.Struct, frozen=True):
    """A project's files and the pipeline to deploy; `fresh` starts it without earlier state."""

    project: str
    files: tuple[SourceFile, ...]
    pipeline: str
    target: str = LOCAL_TARGET
    fresh: bool = False


class StopBody(msgspec.Struct, frozen=True):
    """How to stop a job."""

    savepoint: bool = True


class QueryBody(msgspec.Struct, frozen=True):
    """A batch query."""

    sql: str
    limit: FromQuery[int] = 1000


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET /v1/status` answers: versions, ages, and whether driver and cluster answer."""

    version: str
    home: str
    uptime_ms: int
    tables: int
    jobs: dict[str, str]
    driver: str
    cluster: str


@get("/healthz", sync_to_thread=False)
def healthz() -> dict[str, bool]:
    """The daemon serves."""
    return {"ok": True}


@get("/v1/status", sync_to_thread=True)
def status(services: Parts) -> Status:
    """The daemon and what it depends on."""
    observed = services.host.observe()
    try:
        services.planner.driver.ping()
        driver = "ok"
    except HeadraceError as error:
        driver = error.message
    return Status(
        version=__version__,
        home=str(services.home.root),
        uptime_ms=services.clock.now_ms() - services.started_at_ms,
        tables=len(services.catalog.entries()),
        jobs={job.name: job.state.value for job in services.host.jobs.jobs()},
        driver=driver,
        cluster="ok" if observed.jobs is not None else observed.reason,
    )


@post("/v1/tables:apply", sync_to_thread=True, status_code=200)
def apply_tables(data: JSONBody[ApplyBody], services: Parts) -> Applied:
    """Apply a project's tables and dims, all or none."""
    project = _project(data.project, data.files, dims=data.dims)
    return services.applier.apply(project, data.dims, actor="user")


@get("/v1/tables", sync_to_thread=True)
def list_tables(services: Parts) -> Sequence[Entry]:
    """All tables."""
    return services.catalog.entries()


@get("/v1/tables/{name:str}", sync_to_thread=True)
def show_table(name: FromPath[str], services: Parts) -> Entry:
    """One table."""
    return services.catalog.get(name)


@post("/v1/jobs:deploy", sync_to_thread=True, status_code=200)
def deploy_job(data: JSONBody[DeployBody], services: Parts) -> Deployed:
    """Deploy one pipeline."""
    project = _project(data.project, data.files)
    pipeline = project.pipeline(data.pipeline)
    return services.host.deploy(project, pipeline, target=project.target(data.target), fresh=data.fresh)


@get("/v1/jobs", sync_to_thread=True)
def list_jobs(services: Parts) -> list[JobSummary]:
    """All jobs."""
    return [summary_of(job) for job in services.host.jobs.jobs()]


@get("/v1/jobs/{name:str}", sync_to_thread=True)
def show_job(name: FromPath[str], services: Parts) -> JobDetail:
    """One job with its attempts."""
    return services.host.detail(name)


@post("/v1/jobs/{call:str}", sync_to_thread=True, status_code=200)
def call_job(call: FromPath[str], services: Parts, data: JSONBody[StopBody | None] = None) -> JobSummary:
    """`POST /v1/jobs/<name>:stop`."""
    name, _, verb = call.rpartition(":")
    if verb not in _JOB_CALLS or not name:
        close = ", ".join(nearest(verb, _JOB_CALLS)) or ", ".join(_JOB_CALLS)
        raise NotFound("no such call on a job", context={"call": call}, hint=f"known: {close}")
    return summary_of(services.host.stop(name, savepoint=(data or StopBody()).savepoint))


@post("/v1/jobs:suspend", sync_to_thread=True, status_code=200)
def suspend_jobs(services: Parts) -> list[Suspended]:
    """Stop all jobs with savepoints, to be resumed at the next start; for the stack's orderly stop."""
    return services.host.suspend()


@post("/v1/jobs:resume", sync_to_thread=True, status_code=200)
def resume_jobs(services: Parts) -> list[str]:
    """Start suspended jobs again; also done at every start."""
    return services.host.resume()


@get("/v1/journal", sync_to_thread=True)
def journal(services: Parts, limit: FromQuery[int] = 100) -> Sequence[JournalEntry]:
    """The newest actions first."""
    return services.journal.newest(limit)


@post("/v1/query", sync_to_thread=True, status_code=200)
def query(data: JSONBody[QueryBody], services: Parts) -> Rows:
    """Run a batch query over the catalog's tables."""
    return run_query(services.planner, data.sql, limit=data.limit)


ROUTES = [
    healthz,
    status,
    apply_tables,
    list_tables,
    show_table,
    deploy_job,
    list_jobs,
    show_job,
    call_job,
    suspend_jobs,
    resume_jobs,
    journal,
    query,
]


def _project(name: str, files: tuple[SourceFile, ...], *, dims: tuple[DimFile, ...] = ()) -> Project:
    if not any(file.path == PROJECT_FILE for file in files):
        # A client without a folder of its own sends bare files: the smallest project around them.
        names = "\n".join(f'{dim.name} = "dims/{dim.name}.csv"' for dim in dims)
        files = (*files, SourceFile(PROJECT_FILE, f'name = "{name}"\n[targets.local]\n[dims]\n{names}\n'))
    project = parse_project(files)
    if project.name != name:
        raise Invalid("the project's name differs from its file", context={"project": name, "file": project.name})
    return project


def _on_headrace_error(_request: Request[Any, Any, Any], error: HeadraceError) -> Response[bytes]:
    return _error_response(error, error.http_status)


def _on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    if error.status_code == 404:
        converted: HeadraceError = NotFound("no such path", context={"path": request.url.path})
    elif error.status_code < 500:
        extra = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
        reason = extra.get("message", "") if isinstance(extra, dict) else ""
        converted = Invalid(f"bad request: {reason or error.detail}", context={"path": request.url.path})
    else:
        return _on_bug(request, error)
    return _error_response(converted, error.status_code)


def _on_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("request_failed", exc=error, path=request.url.path)
    bug = Internal(f"unexpected {type(error).__name__}: {error}", hint="a bug in Headrace: logs/headraced.log has more")
    return _error_response(bug, 500)


def _error_response(error: HeadraceError, status_code: int) -> Response[bytes]:
    body = msgspec.json.encode({"error": error.body()})
    return Response(body, status_code=status_code, media_type="application/json")


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    HeadraceError: _on_headrace_error,
    HTTPException: _on_http_error,
    Exception: _on_bug,
}

__all__ = ["EXCEPTION_HANDLERS", "ROUTES", "Services"]
