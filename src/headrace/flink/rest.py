"""What the platform reads from and asks of a JobManager's REST API, typed.

One class, one method per question; `FlinkRest` blocks, its caller decides about threads. Answers are decoded into the
structs below, which name only the fields in use; Flink may add others. Times are ms since the epoch, durations ms,
sizes bytes; what Flink answers with -1 or NaN for "unknown" is None here.

Savepoints are asynchronous in Flink: a trigger id is polled until it is done. A trigger's result is kept for 5 minutes
only (`rest.async.store-duration`), and a poll that comes later finds nothing: then it is `NotFound`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote_plus

import httpx
import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import Conflict, HeadraceError, Internal, Invalid, NotFound, Unavailable

T = TypeVar("T")

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 10.0
POLL_S = 0.2
SAVEPOINT_TIMEOUT_S = 300.0
# Flink's graph cache cancels the pending question of one reader when another asks after the entry's time to live, which our profile
# sets to 0 (DefaultExecutionGraphCache.getExecutionGraphInternal): that reader gets a 500 and only has to ask again.
CANCELLED_TRIES = 5
CANCELLED_WAIT_S = 0.05
# Flink's paths hold at most this many metric names before a JobManager's netty refuses the line (4,096 bytes).
METRICS_PER_CALL = 40
NAMES_LENGTH_MAX = 3_200  # of these names, as they are written in the path; operators' names are up to 80 characters
TERMINAL_STATES = frozenset({"FINISHED", "CANCELED", "FAILED"})


class Overview(msgspec.Struct, frozen=True, rename={"slots_total": "slots-total", "slots_available": "slots-available", "jobs_running": "jobs-running", "jobs_finished": "jobs-finished", "jobs_cancelled": "jobs-cancelled", "jobs_failed": "jobs-failed", "flink_version": "flink-version"}):  # fmt: skip
    """`/overview`: the cluster in numbers."""

    taskmanagers: int
    slots_total: int
    slots_available: int
    jobs_running: int
    jobs_finished: int
    jobs_cancelled: int
    jobs_failed: int
    flink_version: str = ""


class TaskManager(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of `/taskmanagers`."""

    id: str
    path: str = ""
    slots_number: int = 0
    free_slots: int = 0
    # Flink's name promises a duration; what it sends is the time of the last heartbeat.
    last_heartbeat_at_ms: int = msgspec.field(default=0, name="timeSinceLastHeartbeat")


class JobSummary(msgspec.Struct, frozen=True, rename={"id": "jid", "started_at_ms": "start-time", "ended_at_ms": "end-time", "duration_ms": "duration", "job_type": "jobType", "scheduler": "schedulerType"}):  # fmt: skip
    """One entry of `/jobs/overview`; `tasks` counts by state."""

    id: str
    name: str
    state: str
    started_at_ms: int
    ended_at_ms: int
    duration_ms: int
    tasks: dict[str, int] = {}
    job_type: str | None = None
    scheduler: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it will never run again."""
        return self.state in TERMINAL_STATES


class VertexIo(msgspec.Struct, frozen=True, rename="kebab"):
    """Totals since the attempt started; `accumulated-*` in ms."""

    read_bytes: int = 0
    write_bytes: int = 0
    read_records: int = 0
    write_records: int = 0
    accumulated_backpressured_time: int | None = None
    accumulated_idle_time: int | None = None
    accumulated_busy_time: float | str | None = None


class Vertex(msgspec.Struct, frozen=True, rename={"max_parallelism": "maxParallelism", "io": "metrics", "duration_ms": "duration"}):  # fmt: skip
    """One vertex of a job; `tasks` counts subtasks by state."""

    id: str
    name: str
    parallelism: int
    status: str
    max_parallelism: int = 0
    duration_ms: int = -1
    tasks: dict[str, int] = {}
    io: VertexIo = VertexIo()


class JobDetail(msgspec.Struct, frozen=True, rename={"id": "jid", "started_at_ms": "start-time", "ended_at_ms": "end-time", "duration_ms": "duration", "timestamps_ms": "timestamps"}):  # fmt: skip
    """`/jobs/:id`; `timestamps_ms` says when each state was entered (0 = never); `plan` is Flink's own JSON."""

    id: str
    name: str
    state: str
    started_at_ms: int
    ended_at_ms: int
    duration_ms: int
    vertices: tuple[Vertex, ...] = ()
    timestamps_ms: dict[str, int] = msgspec.field(default_factory=dict, name="timestamps")
    plan: dict[str, Any] = {}


class VertexLoad(msgspec.Struct, frozen=True):
    """How hard a vertex works: ratios in [0, 1] of its busiest subtask, rates in records/s of all subtasks."""

    vertex: str
    busy_ratio: float | None = None
    backpressured_ratio: float | None = None
    idle_ratio: float | None = None
    records_in_per_s: float | None = None
    records_out_per_s: float | None = None
    watermark_ms: int | None = None


class Checkpoint(msgspec.Struct, frozen=True, rename={"duration_ms": "end_to_end_duration", "size_bytes": "checkpointed_size", "state_bytes": "state_size", "triggered_at_ms": "trigger_timestamp", "acknowledged_at_ms": "latest_ack_timestamp", "path": "external_path"}):  # fmt: skip
    """One checkpoint or savepoint of a job."""

    id: int
    status: str = ""
    is_savepoint: bool = False
    triggered_at_ms: int = 0
    acknowledged_at_ms: int | None = None
    duration_ms: int = 0
    size_bytes: int = 0
    state_bytes: int = 0
    path: str | None = None
    failure_message: str | None = None


class CheckpointCounts(msgspec.Struct, frozen=True):
    """How many checkpoints of each kind."""

    restored: int = 0
    total: int = 0
    in_progress: int = 0
    completed: int = 0
    failed: int = 0


class RestoredFrom(
    msgspec.Struct, frozen=True, rename={"restored_at_ms": "restore_timestamp", "path": "external_path"}
):
    """The checkpoint that the job last started from."""

    id: int
    restored_at_ms: int
    is_savepoint: bool = False
    path: str | None = None


class LatestCheckpoints(msgspec.Struct, frozen=True):
    """The last of each kind, if there is one."""

    completed: Checkpoint | None = None
    savepoint: Checkpoint | None = None
    failed: Checkpoint | None = None
    restored: RestoredFrom | None = None


class Checkpoints(msgspec.Struct, frozen=True):
    """`/jobs/:id/checkpoints`; `history` is newest first."""

    counts: CheckpointCounts
    latest: LatestCheckpoints
    history: tuple[Checkpoint, ...] = ()


class Failure(msgspec.Struct, frozen=True, rename={"name": "exceptionName", "stack": "stacktrace", "at_ms": "timestamp", "task": "taskName", "labels": "failureLabels", "taskmanager": "taskManagerId"}):  # fmt: skip
    """One entry of a job's exception history, newest first in `FlinkRest.failures`."""

    name: str
    stack: str
    at_ms: int
    task: str | None = None
    taskmanager: str | None = None
    endpoint: str | None = None
    labels: dict[str, str] | None = None

    @property
    def summary(self) -> str:
        """The deepest cause in one line."""
        lines = [line for line in self.stack.splitlines() if not line.startswith("\t")]
        causes = [line for line in lines if line.startswith("Caused by: ")]
        return (causes[-1].removeprefix("Caused by: ") if causes else (lines or [self.name])[0])[:500]


class JobConfig(msgspec.Struct, frozen=True):
    """`/jobs/:id/config`: how the job was submitted."""

    parallelism: int | None = None
    restart_strategy: str = ""
    user: dict[str, str] = {}


class FlinkRest:
    """Questions to one JobManager at `url` (`http://host:port`); close it, or use it as a context manager."""

    def __init__(self, url: str, clock: Clock, *, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url.rstrip("/")
        self._clock = clock
        timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        self._http = httpx.Client(base_url=self._url, timeout=timeout, transport=transport, trust_env=False)

    def __enter__(self) -> FlinkRest:
        """Nothing is connected before the first question."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def overview(self) -> Overview:
        """The cluster in numbers."""
        return self._get("/overview", Overview)

    def taskmanagers(self) -> tuple[TaskManager, ...]:
        """The registered TaskManagers."""
        return _convert(self._json("GET", "/taskmanagers")["taskmanagers"], tuple[TaskManager, ...])

    def jobs(self) -> tuple[JobSummary, ...]:
        """All jobs that the JobManager still knows, ended ones included."""
        return _convert(self._json("GET", "/jobs/overview")["jobs"], tuple[JobSummary, ...])

    def job(self, job_id: str) -> JobDetail:
        """One job with its vertices; NotFound when the JobManager does not know it."""
        return self._get(f"/jobs/{job_id}", JobDetail)

    def job_config(self, job_id: str) -> JobConfig:
        """How a job was submitted."""
        found = self._json("GET", f"/jobs/{job_id}/config").get("execution-config") or {}
        return JobConfig(
            parallelism=found.get("job-parallelism"),
            restart_strategy=str(found.get("restart-strategy", "")),
            user={str(key): str(value) for key, value in (found.get("user-config") or {}).items()},
        )

    def job_metrics(self, job_id: str, names: Sequence[str]) -> dict[str, float]:
        """Gauges of the job itself (`numRestarts`, `lastCheckpointDuration`, …); those unknown are left out."""
        found: dict[str, float] = {}
        for part in _parts(names):
            rows = self._json("GET", f"/jobs/{job_id}/metrics", params={"get": ",".join(part)})
            found.update({row["id"]: number for row in rows if (number := _number(row.get("value"))) is not None})
        return found

    def vertex_load(self, job_id: str, vertex_id: str) -> VertexLoad:
        """How hard a vertex works; unknown figures are None (a job that has just started, a legacy source)."""
        names = {
            "busyTimeMsPerSecond": ("busy_ratio", "max", 1000.0),
            "backPressuredTimeMsPerSecond": ("backpressured_ratio", "max", 1000.0),
            "idleTimeMsPerSecond": ("idle_ratio", "max", 1000.0),
            "numRecordsInPerSecond": ("records_in_per_s", "sum", 1.0),
            "numRecordsOutPerSecond": ("records_out_per_s", "sum", 1.0),
        }
        rows = self._json(
            "GET",
            f"/jobs/{job_id}/vertices/{vertex_id}/subtasks/metrics",
            params={"get": ",".join(names), "agg": "max,sum"},
        )
        figures: dict[str, float] = {}
        for row in rows:
            field, aggregate, unit = names[row["id"]]
            number = _number(row.get(aggregate))
            if number is not None:
                figures[field] = number / unit
        return VertexLoad(vertex=vertex_id, watermark_ms=self.watermark(job_id, vertex_id), **figures)

    def hosts_of(self, job_id: str, vertex_id: str) -> set[str]:
        """Resource ids of the TaskManagers that run subtasks of a vertex."""
        answer = self._json("GET", f"/jobs/{job_id}/vertices/{vertex_id}")
        return {str(row.get("taskmanager-id", "")) for row in answer["subtasks"]}

    def running_since(self, job_id: str, vertex_id: str) -> list[int]:
        """Since when each subtask of a vertex runs, wall ms; 0 for one that does not."""
        answer = self._json("GET", f"/jobs/{job_id}/vertices/{vertex_id}/subtasktimes")
        return [max(0, int(row["timestamps"].get("RUNNING", 0))) for row in answer["subtasks"]]

    def watermark(self, job_id: str, vertex_id: str) -> int | None:
        """The lowest input watermark over the subtasks of a vertex; None if there is none yet."""
        rows = self._json("GET", f"/jobs/{job_id}/vertices/{vertex_id}/watermarks")
        marks = [number for row in rows if (number := _number(row.get("value"))) is not None]
        # Long.MIN_VALUE stands for "no watermark yet".
        known = [int(mark) for mark in marks if mark > -(2**62)]
        return min(known) if marks and len(known) == len(marks) else None

    def vertex_metrics(
        self, job_id: str, vertex_id: str, names: Sequence[str], *, aggregate: str = "sum"
    ) -> dict[str, float]:
        """Any metrics of a vertex, one aggregate (min, max, avg, sum) over its subtasks."""
        found = self.vertex_aggregates(job_id, vertex_id, names, (aggregate,))
        return {name: figures[aggregate] for name, figures in found.items() if aggregate in figures}

    def vertex_aggregates(
        self, job_id: str, vertex_id: str, names: Sequence[str], aggregates: Sequence[str]
    ) -> dict[str, dict[str, float]]:
        """Any metrics of a vertex, each with several aggregates (min, max, avg, sum) over its subtasks."""
        found: dict[str, dict[str, float]] = {}
        path = f"/jobs/{job_id}/vertices/{vertex_id}/subtasks/metrics"
        for part in _parts(names):
            for row in self._json("GET", path, params={"get": ",".join(part), "agg": ",".join(aggregates)}):
                figures = {one: number for one in aggregates if (number := _number(row.get(one))) is not None}
                found[str(row["id"])] = figures
        return found

    def vertex_metric_names(self, job_id: str, vertex_id: str) -> tuple[str, ...]:
        """The names of all metrics that the subtasks of a vertex report; those of an operator begin with its name."""
        rows = self._json("GET", f"/jobs/{job_id}/vertices/{vertex_id}/subtasks/metrics")
        return tuple(str(row["id"]) for row in rows)

    def checkpoints(self, job_id: str) -> Checkpoints:
        """Counts, the latest of each kind, and the recent history."""
        return self._get(f"/jobs/{job_id}/checkpoints", Checkpoints)

    def checkpoint_sizes(self, job_id: str, checkpoint_id: int) -> dict[str, int]:
        """The full size of the state of each vertex in one checkpoint of the history, bytes; NotFound when it has left it."""
        tasks = self._json("GET", f"/jobs/{job_id}/checkpoints/details/{checkpoint_id}").get("tasks") or {}
        return {str(vertex): int(task.get("state_size", 0)) for vertex, task in tasks.items()}

    def failures(self, job_id: str, *, limit: int = 20) -> tuple[Failure, ...]:
        """The exception history with failure labels, newest first.

        A job that failed before it had tasks (a restore that cannot work) has no history; its result says why.
        """
        answer = self._json("GET", f"/jobs/{job_id}/exceptions", params={"maxExceptions": str(limit)})
        entries = (answer.get("exceptionHistory") or {}).get("entries") or []
        return _convert(entries, tuple[Failure, ...]) or self._result_failure(job_id)

    def _result_failure(self, job_id: str) -> tuple[Failure, ...]:
        result = self._json("GET", f"/jobs/{job_id}/execution-result").get("job-execution-result") or {}
        cause = result.get("failure-cause")
        if not cause:
            return ()
        at_ms = self.job(job_id).ended_at_ms
        return (Failure(name=str(cause.get("class")), stack=str(cause.get("stack-trace")), at_ms=at_ms),)

    def end_cause(self, job_id: str) -> Failure | None:
        """Why a job that has ended did not finish; None while it runs, and for one that finished.

        A job that failed in its initialization (state that does not fit) has no exception history, only this.
        """
        result = self._json("GET", f"/jobs/{job_id}/execution-result").get("job-execution-result") or {}
        cause = result.get("failure-cause")
        return Failure(name=cause["class"], stack=cause["stack-trace"], at_ms=0) if cause else None

    def cancel(self, job_id: str) -> None:
        """Ask a job to cancel; returns at once. Conflict when it has ended already."""
        self._json("PATCH", f"/jobs/{job_id}", params={"mode": "cancel"})

    def trigger_savepoint(self, job_id: str, directory: str, *, canonical: bool = False) -> str:
        """Ask for a savepoint, the job goes on; returns the trigger id for `savepoint_path`."""
        body = {"target-directory": directory, "cancel-job": False, "formatType": _format(canonical)}
        return str(self._json("POST", f"/jobs/{job_id}/savepoints", json=body)["request-id"])

    def trigger_stop(self, job_id: str, directory: str, *, canonical: bool = False, drain: bool = False) -> str:
        """Ask a job to stop with a savepoint; returns the trigger id for `savepoint_path`."""
        body = {"targetDirectory": directory, "drain": drain, "formatType": _format(canonical)}
        return str(self._json("POST", f"/jobs/{job_id}/stop", json=body)["request-id"])

    def trigger_checkpoint(self, job_id: str) -> str:
        """Ask for a checkpoint now; returns the trigger id."""
        return str(self._json("POST", f"/jobs/{job_id}/checkpoints", json={})["request-id"])

    def savepoint_path(self, job_id: str, trigger_id: str) -> str | None:
        """Where the savepoint of a trigger lies; None while it is in the making.

        Raises:
            Unavailable: it failed; the reason is in the message. The job runs on.
        """
        answer = self._json("GET", f"/jobs/{job_id}/savepoints/{trigger_id}")
        if (answer.get("status") or {}).get("id") != "COMPLETED":
            return None
        operation = answer.get("operation") or {}
        if operation.get("location"):
            return str(operation["location"])
        trace = (operation.get("failure-cause") or {}).get("stack-trace") or "no reason given"
        if "Could not find Flink job" in str(trace):
            raise NotFound("job has ended", operation="job.savepoint", context={"job": job_id})
        raise Unavailable(
            f"savepoint failed: {_last_cause(str(trace))}",
            operation="job.savepoint",
            context={"job": job_id},
            hint="the job runs on; see its checkpoints and the exceptions: `headrace job show`",
        )

    def savepoint(self, job_id: str, directory: str, *, timeout_s: float = SAVEPOINT_TIMEOUT_S) -> str:
        """Take a savepoint and wait for it; returns its path."""
        return self._await_savepoint(job_id, self.trigger_savepoint(job_id, directory), timeout_s)

    def stop_with_savepoint(
        self, job_id: str, directory: str, *, canonical: bool = False, timeout_s: float = SAVEPOINT_TIMEOUT_S
    ) -> str:
        """Stop a job with a savepoint and wait for it; returns its path. A canonical one is read by every state backend."""
        return self._await_savepoint(job_id, self.trigger_stop(job_id, directory, canonical=canonical), timeout_s)

    def _await_savepoint(self, job_id: str, trigger_id: str, timeout_s: float) -> str:
        deadline = self._clock.monotonic_s() + timeout_s
        while True:
            path = self.savepoint_path(job_id, trigger_id)
            if path:
                return path
            if self._clock.monotonic_s() > deadline:
                raise Unavailable(
                    "savepoint did not finish in time",
                    operation="job.savepoint",
                    context={"job": job_id, "timeout_s": timeout_s},
                    hint="is the job under back-pressure? see its checkpoints: `headrace job show`",
                )
            self._clock.sleep(POLL_S)

    def _get(self, path: str, kind: type[T]) -> T:
        return _convert(self._json("GET", path), kind)

    def _json(self, method: str, path: str, **arguments: Any) -> Any:
        for _ in range(CANCELLED_TRIES - 1):
            response = self._send(method, path, **arguments)
            if method != "GET" or response.status_code != 500 or "CancellationException" not in response.text:
                break
            self._clock.sleep(CANCELLED_WAIT_S)
        else:
            response = self._send(method, path, **arguments)
        if response.is_success:
            return msgspec.json.decode(response.content) if response.content else {}
        raise _refusal(response, f"{method} {path}")

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **arguments)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unavailable(
                f"flink does not answer: {error or type(error).__name__}",
                operation="flink.rest",
                context={"url": f"{self._url}{path}"},
                hint="`headrace status` shows the jobmanager; `headrace logs jobmanager`",
            ) from error


def _refusal(response: httpx.Response, question: str) -> HeadraceError:
    """The error for an answer that is not a success; Flink puts messages and stack traces into `errors`."""
    try:
        errors: Any = msgspec.json.decode(response.content).get("errors") or []
    except (msgspec.MsgspecError, AttributeError):
        errors = [response.text]
    text = "\n".join(str(error) for error in errors) or response.reason_phrase
    context: Mapping[str, object] = {"request": question, "status": response.status_code}
    reason = _last_cause(text)
    if response.status_code == 404 or "NotFoundException" in text or "FlinkJobNotFound" in text:
        hint = "list what there is: `headrace job list`"
        return NotFound(f"flink does not know it: {reason}", operation="flink.rest", context=context, hint=hint)
    if response.status_code == 409:
        return Conflict(f"flink refused: {reason}", operation="flink.rest", context=context)
    if response.status_code == 503 or "leader" in reason.lower():
        hint = "the jobmanager is starting or changing over: try again"
        return Unavailable(f"flink is not ready: {reason}", operation="flink.rest", context=context, hint=hint)
    if response.status_code < 500:
        return Invalid(f"flink refused: {reason}", operation="flink.rest", context=context)
    return Internal(f"flink failed: {reason}", operation="flink.rest", context=context)


def _last_cause(text: str) -> str:
    """The deepest cause of a Java stack trace, without its class name's package, in one line."""
    lines = [
        line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "..."))
    ]
    causes = [line for line in lines if line.startswith("Caused by: ")] or [
        line for line in lines if "Exception" in line and ": " in line
    ]
    line = (causes[-1] if causes else (lines or ["no reason given"])[0]).removeprefix("Caused by: ")
    head, colon, rest = line.partition(": ")
    return (rest if colon and "." in head and " " not in head else line)[:400].rstrip(". >")


def _convert(value: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Internal(
            f"flink answered something unexpected: {error}",
            operation="flink.rest",
            hint="which Flink version runs there? Headrace speaks to 2.3",
        ) from error


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _parts(names: Sequence[str]) -> list[list[str]]:
    """Names in as few calls as their number and length allow."""
    parts: list[list[str]] = []
    length = 0
    for name in names:
        written = len(quote_plus(name)) + 3  # with the comma, which is written as three characters
        if not parts or len(parts[-1]) >= METRICS_PER_CALL or length + written > NAMES_LENGTH_MAX:
            parts.append([])
            length = 0
        parts[-1].append(name)
        length += written
    return parts


def _format(canonical: bool) -> str:
    return "CANONICAL" if canonical else "NATIVE"
