"""The job host's face: deploy, list, show, stop, suspend, resume. What users' calls and the reconciler share is the lock of each job.

A deploy of a name that runs replaces it: stop with savepoint, start the new version from it, wait until every task runs. If the new version cannot start
from the old state, the old one is started again from the same savepoint and the caller gets the reason: nothing half-done is left.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from headrace.catalog.tables import fingerprint_of
from headrace.connectors.external import Externals
from headrace.connectors.registry import ensure_resource
from headrace.core.clock import Clock
from headrace.core.errors import Conflict, HeadraceError
from headrace.core.log import get_logger
from headrace.jobs.cluster import Cluster, Health
from headrace.jobs.decide import Cancel, Stop, decide_job
from headrace.jobs.model import Attempt, Desired, Job, JobSpec, Observed, State
from headrace.jobs.planning import Planner
from headrace.jobs.realize import Realizer
from headrace.jobs.repository import JobRepository
from headrace.sql.project import Pipeline, Project, Target

log = get_logger("headrace.jobs")
START_TIMEOUT = timedelta(seconds=60)  # TaskManagers may have to come up first; measured 2 to 15 s on a loaded machine
POLL_S = 0.2
SUSPEND_WORKERS = 4  # savepoints at once; more only fight for the same disk
_REFUSED = "the new version cannot start from the old state"
# Words by which Flink refuses old state for a new plan; anything else is a failure of another kind.
_INCOMPATIBLE = (
    "Cannot map checkpoint/savepoint state",
    "StateMigrationException",
    "Failed to rollback to checkpoint/savepoint",
    "must not be incompatible",
    "Could not restore keyed state backend",
    "Could not restore operator state backend",
    "maximum parallelism",
)


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """What a deploy did; `action` is created, changed, restarted or unchanged."""

    job: str
    action: str
    state: str
    flink_job_id: str
    restored_from: str
    sources: tuple[str, ...]
    sinks: tuple[str, ...]
    elapsed_ms: int
    error: str = ""


class JobDetail(msgspec.Struct, frozen=True):
    """A job with its attempts, newest first."""

    job: Job
    attempts: Sequence[Attempt]


class Suspended(msgspec.Struct, frozen=True):
    """Result of suspending one job: the savepoint, or why there is none (it then restarts from its last checkpoint)."""

    job: str
    savepoint: str
    error: str = ""


@dataclass(frozen=True)
class JobHost:
    """Deploys and stops jobs; safe for threads."""

    jobs: JobRepository
    realizer: Realizer
    planner: Planner
    cluster: Cluster
    externals: Externals
    clock: Clock
    _locks: dict[str, threading.RLock] = field(default_factory=lambda: defaultdict(threading.RLock))

    def lock(self, name: str) -> threading.RLock:
        """The lock of one job; whoever changes the job or its attempts holds it."""
        return self._locks[name]

    def deploy(
        self, project: Project, pipeline: Pipeline, *, target: Target, fresh: bool = False, actor: str = "user"
    ) -> Deployed:
        """Make the pipeline run in this version.

        `fresh` starts it without any earlier state.

        Raises:
            Invalid: the pipeline is wrong; nothing was changed.
            Conflict: the new version cannot start from the old state, or the name belongs to another project; the old version runs on.
            Unavailable: driver, broker or cluster do not answer.
        """
        started_ms, name = self.clock.now_ms(), pipeline.head.name
        known = self.jobs.find(name)
        spec = known and self.planner.planned(known.spec, pipeline, project=project.name, target=target)
        spec = spec or self.planner.plan(pipeline, project=project.name, target=target)
        with self.lock(name):
            before = self.jobs.find(name)
            if before is not None and before.project != project.name:
                raise Conflict(
                    "the job belongs to another project",
                    context={"job": name, "project": before.project},
                    hint="choose another name",
                )
            fingerprint = fingerprint_of(spec)
            same = before is not None and before.fingerprint == fingerprint
            if before is not None and same and not fresh and self._runs(before):
                if before.state is State.SUBMITTED:
                    # Resumed a moment ago: whoever deployed goes on when it runs, as after any other deploy.
                    self._await_start(before)
                    before = self._seen(before)
                return self._report(before, "unchanged", started_ms=started_ms)
            for table in spec.tables:
                ensure_resource(table, self.externals)
            action = "created" if before is None else "restarted" if same else "changed"
            after = self._replace(before, spec, fresh=fresh, cause=f"{action} by {actor}", actor=actor)
            return self._report(after, action, started_ms=started_ms)

    def stop(self, name: str, *, savepoint: bool = True, actor: str = "user") -> Job:
        """Stop a job for good; with `savepoint`, its state is kept for the next deploy.

        Raises:
            NotFound: no such job.
            HeadraceError: the savepoint failed; the job runs on.
        """
        with self.lock(name):
            job = self.jobs.get(name)
            wanted = Desired.STOPPED if savepoint else Desired.CANCELLED
            return self._end(job, wanted, actor=actor)

    def suspend(self, *, actor: str = "supervisor") -> list[Suspended]:
        """Stop every running job with a savepoint, to be resumed at the next start; used by the stack's orderly stop."""
        running = [job.name for job in self.jobs.jobs() if job.desired is Desired.RUNNING]
        with ThreadPoolExecutor(SUSPEND_WORKERS, thread_name_prefix="suspend") as pool:
            return list(pool.map(lambda name: self._suspend(name, actor=actor), running))

    def resume(self) -> list[str]:
        """Mark suspended jobs as wanted again; the reconciler starts them from their savepoints."""
        names = []
        for job in self.jobs.jobs():
            if job.desired is Desired.SUSPENDED:
                with self.lock(job.name):
                    self.jobs.put(replace(job, desired=Desired.RUNNING, updated_at_ms=self.clock.now_ms()))
                names.append(job.name)
        return names

    def detail(self, name: str) -> JobDetail:
        """One job and its history.

        Raises:
            NotFound: no such job.
        """
        return JobDetail(self.jobs.get(name), self.jobs.attempts(name))

    def _suspend(self, name: str, *, actor: str) -> Suspended:
        with self.lock(name):
            try:
                job = self._end(self.jobs.get(name), Desired.SUSPENDED, actor=actor)
            except HeadraceError as error:
                return Suspended(name, "", str(error))
            return Suspended(name, job.restore_path)

    def _end(self, job: Job, wanted: Desired, *, actor: str) -> Job:
        marked = self.jobs.put(replace(job, desired=wanted, next_attempt_at_ms=0, updated_at_ms=self.clock.now_ms()))
        observed = self.observe()
        decision = decide_job(marked, observed, self.realizer.facts(marked, observed))
        if isinstance(decision, Stop | Cancel):
            decision = replace(decision, cause=f"asked by {actor}")
        try:
            return self.realizer.realize(marked, decision, actor=actor)
        except HeadraceError as error:
            self.jobs.put(replace(self.jobs.get(job.name), desired=job.desired))
            error.hint = error.hint or "`--no-savepoint` stops it without; it then restarts from its last checkpoint"
            raise error.with_context("job.stop", job=job.name) from error

    def observe(self) -> Observed:
        """One look at the cluster."""
        try:
            return Observed(self.cluster.jobs())
        except HeadraceError as error:
            return Observed(None, str(error))

    def _runs(self, job: Job) -> bool:
        seen = (self.observe().jobs or {}).get(job.flink_job_id)
        return job.desired is Desired.RUNNING and seen is not None and seen.alive

    def _replace(self, before: Job | None, spec: JobSpec, *, fresh: bool, cause: str, actor: str) -> Job:
        stopped = before
        if before is not None and self._runs(before):
            stopped = self.realizer.stop(before, cause=f"replaced: {cause}", actor=actor)
        now_ms = self.clock.now_ms()
        wanted = Job(
            name=spec.name,
            project=spec.project,
            desired=Desired.RUNNING,
            spec=spec,
            fingerprint=fingerprint_of(spec),
            restore_path="" if fresh or stopped is None else self.realizer.newest_state(stopped),
            created_at_ms=now_ms if before is None else before.created_at_ms,
            updated_at_ms=now_ms,
        )
        try:
            submitted = self.realizer.submit(wanted, cause=cause, actor=actor)
            health = self._await_start(submitted)
            if health is not None:
                raise _start_error(submitted, health)
        except HeadraceError as error:
            self._undo(wanted.name, before, stopped, actor=actor)
            raise _explained(error, wanted).with_context("job.deploy", job=spec.name) from error
        return self._seen(submitted)

    def _await_start(self, job: Job) -> Health | None:
        """Wait until all tasks run; returns the health of a job that cannot start, None for one that runs or still waits for slots."""
        deadline_s = self.clock.monotonic_s() + START_TIMEOUT.total_seconds()
        health = None
        while self.clock.monotonic_s() < deadline_s:
            try:
                health = self.cluster.health(job.flink_job_id)
            except HeadraceError as error:
                # Not listed yet, still initializing (Flink answers 500 then), or too busy to answer: look again.
                log.debug("job_health_unknown", job=job.name, reason=str(error))
            if health is not None:
                if health.running or health.status == "FINISHED":
                    return None
                if health.status in ("FAILED", "CANCELED") or _is_incompatible(health):
                    return health
            self.clock.sleep(POLL_S)
        return health if health is not None and health.failure else None

    def _undo(self, name: str, before: Job | None, stopped: Job | None, *, actor: str) -> None:
        """Take the failed version away and put the one before back, running again if it ran."""
        failed = self.jobs.find(name)
        if failed is not None and failed.flink_job_id:
            try:
                self.realizer.cancel(failed, cause="the new version could not start", actor=actor)
            except HeadraceError as error:
                log.warning("job_undo_cancel_failed", job=name, reason=str(error))
        if before is None or stopped is None:
            self.jobs.remove(name)
            return
        restored = self.jobs.put(replace(stopped, desired=before.desired, state=before.state))
        if before.desired is Desired.RUNNING and not restored.flink_job_id:
            self.realizer.submit(restored, cause="the new version could not start: back to the old one", actor=actor)

    def _seen(self, job: Job) -> Job:
        seen = (self.observe().jobs or {}).get(job.flink_job_id)
        if seen is None or seen.status != "RUNNING":
            return self.jobs.get(job.name)
        return self.jobs.put(replace(self.jobs.get(job.name), state=State.RUNNING, failures=0))

    def _report(self, job: Job, action: str, *, started_ms: int) -> Deployed:
        return Deployed(
            job=job.name,
            action=action,
            state=job.state.value,
            flink_job_id=job.flink_job_id,
            restored_from=job.restore_path,
            sources=job.spec.sources,
            sinks=job.spec.sinks,
            elapsed_ms=self.clock.now_ms() - started_ms,
            error=job.error,
        )


def _is_incompatible(health: Health) -> bool:
    return _says_incompatible(health.stack) or _says_incompatible(health.failure)


def _says_incompatible(text: str) -> bool:
    return any(word in text for word in _INCOMPATIBLE)


def _explained(error: HeadraceError, job: Job) -> HeadraceError:
    """The driver waits for a job's initialization, so that refused state may also come as its error."""
    if error.message == _REFUSED or not job.restore_path or not _says_incompatible(str(error)):
        return error
    return _incompatible_state(job, error.context.get("cause", error.message))


def _incompatible_state(job: Job, reason: str) -> Conflict:
    return Conflict(
        _REFUSED,
        context={"reason": reason, "state": job.restore_path},
        hint="`--fresh` starts without it; what the old state held is then counted anew",
    )


def _start_error(job: Job, health: Health) -> Conflict:
    if job.restore_path and _is_incompatible(health):
        return _incompatible_state(job, health.failure)
    return Conflict(
        "the job failed at its start",
        context={"status": health.status, "reason": health.failure},
        hint="`headrace logs taskmanager-1` has the whole story",
    )
