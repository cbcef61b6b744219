"""Values of the job host: the description (`JobSpec`), what is stored (`Job`), one submission (`Attempt`), what is seen (`Observed`).

    desired    running, stopped (with savepoint), cancelled (without), suspended (by the stack's orderly stop; resumed at start)
    state      what was last seen or done: new, submitted, running, restarting, stopping, stopped, suspended, finished, failed

Flink shows a job under its own name. Which jobs on a cluster are ours is told by their ids, which are chosen and stored before submission, so
that jobs of other origin are never touched.
"""

from __future__ import annotations

import enum

import msgspec

from headrace.core.schema import Table
from headrace.flink.protocol import Script


class Desired(enum.StrEnum):
    """What should be the case."""

    RUNNING = "running"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    SUSPENDED = "suspended"


class State(enum.StrEnum):
    """What was last seen or done."""

    NEW = "new"
    SUBMITTED = "submitted"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    SUSPENDED = "suspended"
    FINISHED = "finished"
    FAILED = "failed"


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A job as declared, with the tables as they were when it was deployed.

    Physical options are not part of it: they are rendered at each submission, because a stack may come back on other ports.
    """

    name: str
    project: str
    target: str
    tier: str
    parallelism: int
    freshness: str = ""
    config: dict[str, str] = {}
    script: Script
    tables: tuple[Table, ...] = ()
    sources: tuple[str, ...] = ()
    sinks: tuple[str, ...] = ()


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as stored.

    Args:
        flink_job_id: of the current or last attempt; empty when that attempt ended orderly or there was none.
        restore_path: savepoint or checkpoint that the next attempt starts from, unless the current one has a newer checkpoint.
        failures: attempts that failed since the job last ran well.
        next_attempt_at_ms: no new attempt before this.
    """

    name: str
    project: str
    desired: Desired
    spec: JobSpec
    fingerprint: str
    flink_job_id: str = ""
    restore_path: str = ""
    state: State = State.NEW
    error: str = ""
    failures: int = 0
    next_attempt_at_ms: int = 0
    created_at_ms: int = 0
    updated_at_ms: int = 0


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One submission; `outcome` is open, stopped, failed, lost, cancelled or finished."""

    flink_job_id: str
    job: str
    fingerprint: str
    restored_from: str = ""
    savepoint: str = ""
    outcome: str = "open"
    submitted_at_ms: int = 0
    ended_at_ms: int = 0


class ObservedJob(msgspec.Struct, frozen=True):
    """A job as the cluster reports it; `status` is Flink's JobStatus."""

    flink_job_id: str
    name: str
    status: str

    @property
    def alive(self) -> bool:
        """Whether the cluster still works on it."""
        return self.status not in ("FAILED", "CANCELED", "FINISHED", "SUSPENDED")


class Observed(msgspec.Struct, frozen=True):
    """One look at the cluster; `jobs` is None when it did not answer."""

    jobs: dict[str, ObservedJob] | None
    reason: str = ""


class JobSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A job as a line of a list."""

    name: str
    project: str
    tier: str
    desired: str
    state: str
    parallelism: int
    freshness: str
    flink_job_id: str
    restore_path: str
    sources: tuple[str, ...]
    sinks: tuple[str, ...]
    failures: int
    error: str
    updated_at_ms: int


def summary_of(job: Job) -> JobSummary:
    """The line of a job."""
    spec = job.spec
    return JobSummary(
        name=job.name,
        project=job.project,
        tier=spec.tier,
        desired=job.desired.value,
        state=job.state.value,
        parallelism=spec.parallelism,
        freshness=spec.freshness,
        flink_job_id=job.flink_job_id,
        restore_path=job.restore_path,
        sources=spec.sources,
        sinks=spec.sinks,
        failures=job.failures,
        error=job.error,
        updated_at_ms=job.updated_at_ms,
    )
