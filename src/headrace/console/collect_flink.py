"""Jobs, as Flink's REST interface reports them.

A round lists the jobs, then asks for each job that has not ended: its graph and tasks, restarts, checkpoints, exceptions and one set of
metrics per vertex. The graph (edges and names) is asked once per job id. Jobs beyond `JOBS_MAX` are listed without detail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.console.live_model import Checkpoint, JobDetail, JobException, JobRow, Vertex
from headrace.core.clock import Clock

JOBS_MAX = 16
CHECKPOINTS_MAX = 30
EXCEPTIONS_MAX = 16  # as many as Flink keeps (web.exception-history-size)
MESSAGE_LENGTH_MAX = 4_000
ENDED = frozenset({"FINISHED", "CANCELED", "FAILED"})
METRICS = (
    "busyTimeMsPerSecond",
    "backPressuredTimeMsPerSecond",
    "idleTimeMsPerSecond",
    "numRecordsInPerSecond",
    "numRecordsOutPerSecond",
    "currentInputWatermark",
)
NO_WATERMARK = -(2**62)

Get = Callable[[str], Any]


class FlinkCollector:
    """Asks one JobManager through `get(path) -> JSON`; `release` closes what `get` keeps open."""

    name = "flink"

    def __init__(self, get: Get, *, clock: Clock, release: Callable[[], None] = lambda: None) -> None:
        self._get = get
        self._clock = clock
        self._release = release
        self._edges: dict[str, dict[str, list[str]]] = {}
        self._ended: dict[str, JobDetail] = {}

    def collect(self) -> list[JobDetail]:
        """All jobs, running ones first, then by start, newest first."""
        listed = sorted(
            self._get("/jobs/overview")["jobs"], key=lambda job: (job["state"] in ENDED, -job["start-time"])
        )
        jobs = [self._job(job, i < JOBS_MAX) for i, job in enumerate(listed)]
        known = {job["jid"] for job in listed}
        self._edges = {id_: edges for id_, edges in self._edges.items() if id_ in known}
        self._ended = {id_: detail for id_, detail in self._ended.items() if id_ in known}
        return jobs

    def close(self) -> None:
        """Drop the connection."""
        self._release()

    def _job(self, job: dict[str, Any], wanted: bool) -> JobDetail:
        id_, now_ms = job["jid"], self._clock.now_ms()
        if id_ in self._ended:
            return self._ended[id_]
        if not wanted:
            return JobDetail(at_ms=now_ms, job=render_row(job, {}, [], None))
        if id_ not in self._edges:
            self._edges[id_] = render_edges(self._get(f"/jobs/{id_}/plan"))
        vertices = [
            render_vertex(vertex, self._edges[id_].get(vertex["id"], []), self._metrics(id_, vertex["id"]))
            for vertex in self._get(f"/jobs/{id_}")["vertices"]
        ]
        checkpoints = self._get(f"/jobs/{id_}/checkpoints")
        restarts = _number(self._get(f"/jobs/{id_}/metrics?get=numRestarts"), "numRestarts")
        restored = (checkpoints.get("latest") or {}).get("restored") or {}
        detail = JobDetail(
            at_ms=now_ms,
            job=render_row(job, checkpoints, vertices, restarts),
            vertices=vertices,
            checkpoints=render_checkpoints(checkpoints),
            exceptions=render_exceptions(self._get(f"/jobs/{id_}/exceptions?maxExceptions={EXCEPTIONS_MAX}")),
            restored_checkpoint=restored.get("id"),
        )
        if job["state"] in ENDED:
            self._ended[id_] = detail
        return detail

    def _metrics(self, job: str, vertex: str) -> dict[str, dict[str, float]]:
        answer = self._get(f"/jobs/{job}/vertices/{vertex}/subtasks/metrics?get={','.join(METRICS)}&agg=max,min,sum")
        return {metric["id"]: metric for metric in answer}


def render_edges(plan: dict[str, Any]) -> dict[str, list[str]]:
    """Inputs of each vertex, by id."""
    return {node["id"]: [one["id"] for one in node.get("inputs", [])] for node in plan["plan"]["nodes"]}


def render_vertex(vertex: dict[str, Any], inputs: list[str], metrics: dict[str, dict[str, float]]) -> Vertex:
    """One vertex; shares are those of its busiest subtask, rates sums over subtasks, the watermark the slowest one's."""

    def of(name: str, agg: str) -> float | None:
        value = metrics.get(name, {}).get(agg)
        return None if value is None or value != value else float(value)  # NaN: the metric is not reported yet

    def share(name: str) -> float | None:
        value = of(name, "max")
        return None if value is None else min(max(value / 1000, 0.0), 1.0)

    watermark = of("currentInputWatermark", "min")
    return Vertex(
        id=vertex["id"],
        name=vertex["name"],
        parallelism=vertex["parallelism"],
        state=vertex["status"],
        inputs=inputs,
        busy=share("busyTimeMsPerSecond"),
        back_pressured=share("backPressuredTimeMsPerSecond"),
        idle=share("idleTimeMsPerSecond"),
        records_in_per_s=of("numRecordsInPerSecond", "sum"),
        records_out_per_s=of("numRecordsOutPerSecond", "sum"),
        watermark_ms=None if watermark is None or watermark < NO_WATERMARK else round(watermark),
    )


def render_row(
    job: dict[str, Any], checkpoints: dict[str, Any], vertices: list[Vertex], restarts: float | None
) -> JobRow:
    """A job as a line; records in are what its sources send on."""
    counts = checkpoints.get("counts") or {}
    done = (checkpoints.get("latest") or {}).get("completed") or {}
    sources = [one.records_out_per_s for one in vertices if not one.inputs and one.records_out_per_s is not None]
    tasks = job.get("tasks") or {}
    return JobRow(
        id=job["jid"],
        name=job["name"],
        state=job["state"],
        started_at_ms=job["start-time"],
        uptime_ms=job["duration"],
        restarts=None if restarts is None else int(restarts),
        tasks_running=tasks.get("running", 0),
        tasks_total=tasks.get("total", 0),
        records_in_per_s=sum(sources) if sources else None,
        checkpoints_completed=counts.get("completed"),
        checkpoints_failed=counts.get("failed"),
        checkpoint_at_ms=done.get("latest_ack_timestamp") or done.get("trigger_timestamp"),
        checkpoint_duration_ms=done.get("end_to_end_duration"),
        checkpoint_size_bytes=done.get("state_size"),
    )


def render_checkpoints(checkpoints: dict[str, Any]) -> list[Checkpoint]:
    """The newest checkpoints first."""
    return [
        Checkpoint(
            id=one["id"],
            kind="SAVEPOINT" if one.get("is_savepoint") else "CHECKPOINT",
            state=one["status"],
            at_ms=one["trigger_timestamp"],
            duration_ms=one.get("end_to_end_duration"),
            size_bytes=one.get("checkpointed_size"),
            full_size_bytes=one.get("state_size"),
            failure=str(one.get("failure_message") or ""),
        )
        for one in (checkpoints.get("history") or [])[:CHECKPOINTS_MAX]
    ]


def render_exceptions(answer: dict[str, Any]) -> list[JobException]:
    """The newest failures first."""
    entries = (answer.get("exceptionHistory") or {}).get("entries") or []
    return [
        JobException(
            at_ms=one["timestamp"],
            name=str(one.get("exceptionName") or "").rpartition(".")[2],
            message=str(one.get("stacktrace") or "")[:MESSAGE_LENGTH_MAX],
            task=str(one.get("taskName") or ""),
            endpoint=str(one.get("endpoint") or one.get("location") or ""),
        )
        for one in entries[:EXCEPTIONS_MAX]
    ]


def _number(metrics: list[dict[str, str]], name: str) -> float | None:
    return next((float(one["value"]) for one in metrics if one["id"] == name), None)
