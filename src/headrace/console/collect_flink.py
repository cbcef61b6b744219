"""Jobs, as Flink's REST interface reports them.

A round lists all jobs and looks closely at some: those that a page shows right now (`wanted`), and in turn one of the others, because a
close look costs two calls per vertex, and the JobManager has better things to do. What has ended is looked at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from headrace.console.live_model import Checkpoint, JobDetail, JobException, JobRow, Vertex
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError
from headrace.core.log import get_logger
from headrace.flink import rest
from headrace.flink.rest import FlinkRest

log = get_logger("headrace.console.flink")
CHECKPOINTS_MAX = 30
FAILURES_MAX = 16
MESSAGE_LENGTH_MAX = 4_000
RESTARTS = "numRestarts"
INITIALIZING = "INITIALIZING"  # there is no graph to ask for yet


class FlinkCollector:
    """Asks one JobManager; `wanted` are the names of jobs that pages show, set by the hub."""

    name = "flink"

    def __init__(
        self, endpoint: Callable[[], str], *, clock: Clock, connect: Callable[[str], FlinkRest] | None = None
    ) -> None:
        self.wanted: frozenset[str] = frozenset()
        self._endpoint = endpoint
        self._clock = clock
        self._connect = connect or (lambda url: FlinkRest(url, clock))
        self._rest: FlinkRest | None = None
        self._details: dict[str, JobDetail] = {}

    def collect(self) -> list[JobDetail]:
        """All jobs, running ones first, then the newest first; raises as `FlinkRest`."""
        if self._rest is None:
            self._rest = self._connect(self._endpoint())
        listed = sorted(self._rest.jobs(), key=lambda job: (job.ended, -job.started_at_ms))
        known = {job.id for job in listed}
        self._details = {id_: detail for id_, detail in self._details.items() if id_ in known}
        for job in self._due(listed):
            try:
                self._details[job.id] = self._look(self._rest, job)
            except HeadraceError as error:  # it is starting or went away; the list is right, the last look stays
                log.debug("job_not_looked_at", job=job.name, state=job.state, error=error.message)
        return [_with_state(self._details.get(job.id), job, self._clock.now_ms()) for job in listed]

    def close(self) -> None:
        """Drop the connection."""
        if self._rest is not None:
            self._rest.close()
            self._rest = None

    def _due(self, listed: list[rest.JobSummary]) -> list[rest.JobSummary]:
        open_ = [job for job in listed if job.state != INITIALIZING and not self._is_final(job)]
        wanted = [job for job in open_ if job.name in self.wanted]
        others = [job for job in open_ if job.name not in self.wanted]
        return wanted + sorted(others, key=self._looked_at_ms)[:1]

    def _is_final(self, job: rest.JobSummary) -> bool:
        detail = self._details.get(job.id)
        return job.ended and detail is not None and detail.job.state == job.state

    def _looked_at_ms(self, job: rest.JobSummary) -> int:
        detail = self._details.get(job.id)
        return detail.at_ms if detail else 0

    def _look(self, flink: FlinkRest, job: rest.JobSummary) -> JobDetail:
        found = flink.job(job.id)
        edges = plan_inputs(found.plan)
        vertices = [
            render_vertex(
                vertex,
                edges.get(vertex.id, []),
                rest.VertexLoad(vertex.id) if job.ended else flink.vertex_load(job.id, vertex.id),
            )
            for vertex in found.vertices
        ]
        checkpoints = flink.checkpoints(job.id)
        restarts = flink.job_metrics(job.id, [RESTARTS]).get(RESTARTS)
        restored = checkpoints.latest.restored
        return JobDetail(
            at_ms=self._clock.now_ms(),
            job=render_row(job, vertices, checkpoints, restarts),
            vertices=vertices,
            checkpoints=render_checkpoints(checkpoints),
            exceptions=[render_failure(failure) for failure in flink.failures(job.id, limit=FAILURES_MAX)],
            restored_checkpoint=restored.id if restored else None,
        )


def plan_inputs(plan: Mapping[str, Any]) -> dict[str, list[str]]:
    """Inputs of each vertex, by id."""
    return {node["id"]: [one["id"] for one in node.get("inputs", [])] for node in plan.get("nodes", [])}


def render_vertex(vertex: rest.Vertex, inputs: list[str], load: rest.VertexLoad) -> Vertex:
    """A vertex with its load; ratios are capped at 1, which Flink's meters overshoot."""

    def ratio(value: float | None) -> float | None:
        return None if value is None else min(max(value, 0.0), 1.0)

    return Vertex(
        id=vertex.id,
        name=vertex.name,
        parallelism=vertex.parallelism,
        state=vertex.status,
        inputs=inputs,
        busy=ratio(load.busy_ratio),
        back_pressured=ratio(load.backpressured_ratio),
        idle=ratio(load.idle_ratio),
        records_in_per_s=load.records_in_per_s,
        records_out_per_s=load.records_out_per_s,
        watermark_ms=load.watermark_ms,
    )


def render_row(
    job: rest.JobSummary, vertices: list[Vertex], checkpoints: rest.Checkpoints, restarts: float | None
) -> JobRow:
    """A job as a line; records in are what its sources read, or send on when they do not say what they read."""
    done = checkpoints.latest.completed
    flows = [(one.records_in_per_s, one.records_out_per_s) for one in vertices if not one.inputs]
    sources = [read or sent or 0.0 for read, sent in flows if (read, sent) != (None, None)]
    return JobRow(
        id=job.id,
        name=job.name,
        state=job.state,
        restarts=None if restarts is None else int(restarts),
        records_in_per_s=sum(sources) if sources else None,
        checkpoints_completed=checkpoints.counts.completed,
        checkpoints_failed=checkpoints.counts.failed,
        checkpoint_at_ms=(done.acknowledged_at_ms or done.triggered_at_ms) if done else None,
        checkpoint_duration_ms=done.duration_ms if done else None,
        checkpoint_size_bytes=done.state_bytes if done else None,
    )


def render_checkpoints(checkpoints: rest.Checkpoints) -> list[Checkpoint]:
    """The newest checkpoints first."""
    return [
        Checkpoint(
            id=one.id,
            kind="SAVEPOINT" if one.is_savepoint else "CHECKPOINT",
            state=one.status,
            at_ms=one.triggered_at_ms,
            duration_ms=one.duration_ms,
            size_bytes=one.size_bytes,
            full_size_bytes=one.state_bytes,
            failure=one.failure_message or "",
        )
        for one in checkpoints.history[:CHECKPOINTS_MAX]
    ]


def render_failure(failure: rest.Failure) -> JobException:
    """A failure: its deepest cause first, then the trace."""
    return JobException(
        at_ms=failure.at_ms,
        name=failure.name.rpartition(".")[2],
        message=f"{failure.summary}\n\n{failure.stack}"[:MESSAGE_LENGTH_MAX],
        task=failure.task or "",
        endpoint=failure.endpoint or "",
    )


def _with_state(detail: JobDetail | None, job: rest.JobSummary, now_ms: int) -> JobDetail:
    """The last close look, with what the list says now."""
    base = detail or JobDetail(at_ms=now_ms, job=JobRow(id=job.id, name=job.name, state=job.state))
    row = msgspec.structs.replace(
        base.job,
        state=job.state,
        started_at_ms=job.started_at_ms,
        uptime_ms=job.duration_ms,
        tasks_running=job.tasks.get("running", 0),
        tasks_total=job.tasks.get("total", 0),
    )
    return msgspec.structs.replace(base, job=row)
