"""The decision of the reconciler: pure, from one job and one look at the cluster to one decision.

Table of cases (rows: desired, columns: what the cluster shows for the job's current attempt):

                 alive              absent                  FAILED/CANCELED         FINISHED
    running      Keep               Submit (after grace)    Submit (after back-off) with savepoint: Submit, else Finish
    stopped…     Stop, Cancel       Settle                  Settle                  Settle

Before everything: no answer from the cluster → Wait; an older attempt of the job that is still alive → Fence, so that there are never two of them.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from headrace.jobs.model import Desired, Job, Observed, ObservedJob, State

# A JobManager that has just come back lists nothing for a moment; two rounds of the loop make sure.
ABSENT_GRACE = timedelta(seconds=2)
BACKOFF_FIRST_MS, BACKOFF_MAX_MS = 1_000, 60_000
# An attempt that ran this long was good: earlier failures no longer count.
HEALTHY_AFTER_MS = 60_000


class Keep(msgspec.Struct, frozen=True):
    """Nothing to do; `state` is what to show, `forgive` clears the failure count."""

    state: State
    forgive: bool = False


class Wait(msgspec.Struct, frozen=True):
    """Nothing to do yet, and why."""

    reason: str


class Submit(msgspec.Struct, frozen=True):
    """Start a new attempt; `failed` counts the last one as a failure."""

    cause: str
    failed: bool = False


class Stop(msgspec.Struct, frozen=True):
    """Stop the attempt with a savepoint."""

    flink_job_id: str
    cause: str


class Cancel(msgspec.Struct, frozen=True):
    """Cancel the attempt without a savepoint."""

    flink_job_id: str
    cause: str


class Fence(msgspec.Struct, frozen=True):
    """Cancel another attempt of the same job, which must not run beside the current one."""

    flink_job_id: str
    cause: str


class Settle(msgspec.Struct, frozen=True):
    """The attempt is gone as desired: record its savepoint, if it left one."""

    state: State


class Finish(msgspec.Struct, frozen=True):
    """A bounded job reached its end."""


Decision = Keep | Wait | Submit | Stop | Cancel | Fence | Settle | Finish

_SETTLED = {Desired.STOPPED: State.STOPPED, Desired.CANCELLED: State.STOPPED, Desired.SUSPENDED: State.SUSPENDED}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the job and the cluster's answer.

    Args:
        now_ms: the time of the look at the cluster.
        absent_for_ms: how long the current attempt has been missing from answers, 0 if it is there.
        has_savepoint: whether a stopping savepoint of the current attempt exists on disk.
        attempts: Flink ids of all attempts of the job.
    """

    now_ms: int
    absent_for_ms: int = 0
    has_savepoint: bool = False
    attempts: frozenset[str] = frozenset()


def decide_job(job: Job, observed: Observed, facts: Facts) -> Decision:
    """What to do about one job, as stored, after a look at the cluster that is newer.

    Pure.
    """
    if observed.jobs is None:
        return Wait(f"the cluster does not answer: {observed.reason}")
    stray = _stray(job, observed.jobs, facts.attempts)
    if stray is not None:
        return Fence(stray.flink_job_id, "an older attempt of the job still runs")
    seen = observed.jobs.get(job.flink_job_id) if job.flink_job_id else None
    if job.desired is Desired.RUNNING:
        return _decide_running(job, seen, facts)
    return _decide_gone(job, seen, now_ms=facts.now_ms)


def backoff_ms(failures: int) -> int:
    """Wait before the next attempt after `failures` failed ones: doubling, capped."""
    return 0 if failures == 0 else min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** min(failures - 1, 16))


def _stray(job: Job, jobs: dict[str, ObservedJob], attempts: frozenset[str]) -> ObservedJob | None:
    for flink_job_id in attempts - {job.flink_job_id}:
        seen = jobs.get(flink_job_id)
        if seen is not None and seen.alive:
            return seen
    return None


def _decide_running(job: Job, seen: ObservedJob | None, facts: Facts) -> Decision:
    if seen is not None and seen.alive:
        running = seen.status == "RUNNING"
        forgive = running and job.failures > 0 and facts.now_ms - job.updated_at_ms >= HEALTHY_AFTER_MS
        return Keep(State.RUNNING if running else State.RESTARTING, forgive)
    if job.state is State.FINISHED:
        return Keep(State.FINISHED)
    if seen is not None and seen.status == "FINISHED" and not facts.has_savepoint:
        return Finish()
    if facts.now_ms < job.next_attempt_at_ms:
        return Wait(f"backing off after {job.failures} failures")
    if not job.flink_job_id:
        return Submit("it should run and does not")
    if seen is None:
        if facts.absent_for_ms < ABSENT_GRACE.total_seconds() * 1000:
            return Wait("missing from the cluster's answer, looking again")
        return Submit("the cluster lost it (its JobManager restarted)")
    if seen.status == "FAILED":
        return Submit("it failed on the cluster", failed=True)
    return Submit(f"it was ended outside Headrace ({seen.status.lower()})")


def _decide_gone(job: Job, seen: ObservedJob | None, *, now_ms: int) -> Decision:
    settled = _SETTLED[job.desired]
    if seen is not None and seen.alive:
        if seen.status == "CANCELLING":
            return Wait("it is being cancelled")
        if now_ms < job.next_attempt_at_ms:
            return Wait(f"backing off after {job.failures} failed stops")
        cause = f"it should be {job.desired.value} and runs"
        if job.desired is Desired.CANCELLED:
            return Cancel(seen.flink_job_id, cause)
        return Stop(seen.flink_job_id, cause)
    if job.state is settled and not job.flink_job_id:
        return Keep(settled)
    return Settle(settled)
