"""Carrying out decisions, one job at a time: submit, stop, cancel, fence, settle. Every action is a journal entry.

Order of writes, so that a crash between any two steps leaves a job that the next round of the reconciler understands:
- submit: the attempt with its Flink id is stored, then sent. A lost answer is looked up by that id; if it never arrived, the job is "absent".
- stop: Flink is asked, then the savepoint is stored. If we die in between, the job is "finished with a savepoint of its id on disk".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from headrace.catalog.journal import Act, Journal
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, Unavailable
from headrace.core.home import Home
from headrace.core.log import get_logger
from headrace.flink.protocol import DriverFace
from headrace.flink.protocol import Submit as SubmitRequest
from headrace.jobs.cluster import Cluster
from headrace.jobs.decide import Cancel, Decision, Facts, Fence, Finish, Keep, Settle, Stop, Submit, Wait, backoff_ms
from headrace.jobs.model import Attempt, Desired, Job, Observed, State
from headrace.jobs.planning import Planner
from headrace.jobs.repository import JobRepository
from headrace.jobs.snapshots import METADATA, find_savepoint, newest_checkpoint

log = get_logger("headrace.jobs")
RECONCILER = "reconciler"


@dataclass(frozen=True)
class Realizer:
    """The hands of the job host; callers hold the job's lock.

    Args:
        new_flink_id: 32 fresh hexadecimal digits at each call.
    """

    jobs: JobRepository
    journal: Journal
    driver: DriverFace
    cluster: Cluster
    planner: Planner
    home: Home
    clock: Clock
    new_flink_id: Callable[[], str]

    def realize(self, job: Job, decision: Decision, *, actor: str = RECONCILER) -> Job:
        """Do what was decided; returns the job as stored afterwards.

        Raises:
            HeadraceError: what driver or cluster said; the job's failure count and back-off are stored before.
        """
        match decision:
            case Keep():
                return self._keep(job, decision)
            case Wait():
                return job
            case Submit(failed=True):
                return self._record_failure(job, self._failure_of(job))
            case Submit():
                return self.submit(job, cause=decision.cause, actor=actor)
            case Stop():
                return self.stop(job, cause=decision.cause, actor=actor)
            case Cancel():
                return self.cancel(job, cause=decision.cause, actor=actor)
            case Fence():
                self._fence(job, decision)
                return job
            case Settle() | Finish():
                return self._settle(job, State.FINISHED if isinstance(decision, Finish) else decision.state)

    def submit(self, job: Job, *, cause: str, actor: str) -> Job:
        """Start a new attempt from the newest state; returns the job with the attempt's id.

        A driver that does not answer at all (the stack is starting) makes no attempt and counts as no failure.
        """
        self.driver.ping()
        now_ms, restore = self.clock.now_ms(), self.newest_state(job)
        if job.flink_job_id:
            self.jobs.end_attempt(job.flink_job_id, outcome="lost", now_ms=now_ms)
        begun = replace(
            job,
            flink_job_id=self.new_flink_id(),
            restore_path=restore,
            state=State.SUBMITTED,
            error="",
            updated_at_ms=now_ms,
        )
        attempt = Attempt(
            flink_job_id=begun.flink_job_id,
            job=job.name,
            fingerprint=job.fingerprint,
            restored_from=restore,
            submitted_at_ms=now_ms,
        )
        expected = f"runs from {Path(restore).name}" if restore else "runs from the beginning"
        with self.journal.recording(Act(actor, "job.submit", job.name, cause, expected)) as effect:
            self.jobs.begin_attempt(begun, attempt)
            try:
                submitted = self.driver.submit(self._request(begun))
            except Unavailable as error:
                # It may have arrived all the same: the id is kept, and the cluster's list will tell.
                self.jobs.put(self._backed_off(begun, str(error)))
                raise
            except HeadraceError as error:
                self._record_failure(begun, str(error))
                raise
            effect.measured = f"accepted as {submitted.job_id}"
        log.info("job_submitted", job=job.name, flink_job_id=begun.flink_job_id, restored_from=restore, cause=cause)
        return begun

    def stop(self, job: Job, *, cause: str, actor: str) -> Job:
        """Stop the current attempt with a savepoint; the job keeps its path."""
        act = Act(actor, "job.stop", job.name, cause, "stopped with a savepoint")
        started_ms = self.clock.now_ms()
        with self.journal.recording(act) as effect:
            try:
                # The next version may name another state backend; one that is only suspended goes on as it is, sooner.
                canonical = job.desired is not Desired.SUSPENDED
                folder = self.home.savepoints / job.name
                path = self.cluster.stop_with_savepoint(job.flink_job_id, folder, canonical=canonical)
            except HeadraceError as error:
                self.jobs.put(self._backed_off(job, str(error), state=job.state))
                raise
            effect.measured = f"savepoint {Path(path).name} after {self.clock.now_ms() - started_ms} ms"
            return self._ended(job, outcome="stopped", savepoint=_local(path))

    def cancel(self, job: Job, *, cause: str, actor: str) -> Job:
        """Cancel the current attempt; its last checkpoint stays the state to start from."""
        with self.journal.recording(Act(actor, "job.cancel", job.name, cause, "ended without a savepoint")) as effect:
            self.cluster.cancel(job.flink_job_id)
            effect.measured = "cancelled"
            return self._ended(job, outcome="cancelled")

    def newest_state(self, job: Job) -> str:
        """The path that the next attempt starts from: the newest of what the current attempt left, else what it started from itself."""
        if not job.flink_job_id:
            return job.restore_path
        left = (
            find_savepoint(self.home.savepoints, job.name, job.flink_job_id),
            newest_checkpoint(self.home.checkpoints, job.flink_job_id),
        )
        present = [path for path in left if path is not None]
        if not present:
            return job.restore_path
        return str(max(present, key=lambda path: (path / METADATA).stat().st_mtime_ns))

    def facts(self, job: Job, observed: Observed, *, absent_for_ms: int = 0) -> Facts:
        """What a decision about the job needs beside the look at the cluster."""
        left = find_savepoint(self.home.savepoints, job.name, job.flink_job_id) if job.flink_job_id else None
        owners = self.jobs.owners(observed.jobs or ())
        return Facts(
            now_ms=self.clock.now_ms(),
            absent_for_ms=absent_for_ms,
            has_savepoint=left is not None,
            attempts=frozenset(flink_job_id for flink_job_id, owner in owners.items() if owner == job.name),
        )

    def _request(self, job: Job) -> SubmitRequest:
        spec = job.spec
        return SubmitRequest(
            script=spec.script,
            tables=self.planner.definitions(spec.tables, job=spec.name),
            config=self.planner.configuration(spec),
            job_name=job.name,
            cluster=self.planner.endpoints.flink,
            job_id=job.flink_job_id,
            savepoint_path=job.restore_path,
            plan=self.planner.compiled_plan(spec),
        )

    def _keep(self, job: Job, decision: Keep) -> Job:
        if job.state is decision.state and not decision.forgive:
            return job
        now_ms = self.clock.now_ms()
        failures = 0 if decision.forgive else job.failures
        error = "" if decision.state is State.RUNNING else job.error
        if decision.state is State.RESTARTING and job.state is State.RUNNING:
            error = self._failure_of(job)
        log.info("job_state_changed", job=job.name, before=job.state.value, after=decision.state.value)
        return self.jobs.put(replace(job, state=decision.state, failures=failures, error=error, updated_at_ms=now_ms))

    def _fence(self, job: Job, decision: Fence) -> None:
        act = Act(RECONCILER, "job.fence", job.name, decision.cause, "one attempt at a time")
        with self.journal.recording(act) as effect:
            self.cluster.cancel(decision.flink_job_id)
            self.jobs.end_attempt(decision.flink_job_id, outcome="cancelled", now_ms=self.clock.now_ms())
            effect.measured = f"cancelled {decision.flink_job_id}"

    def _settle(self, job: Job, state: State) -> Job:
        restore, now_ms = self.newest_state(job), self.clock.now_ms()
        outcome = "finished" if state is State.FINISHED else "stopped"
        if job.flink_job_id:
            self.jobs.end_attempt(job.flink_job_id, outcome=outcome, now_ms=now_ms, savepoint=restore)
        log.info("job_settled", job=job.name, state=state.value, restore_path=restore)
        settled = replace(job, state=state, flink_job_id="", restore_path=restore, error="", updated_at_ms=now_ms)
        return self.jobs.put(settled)

    def _ended(self, job: Job, *, outcome: str, savepoint: str = "") -> Job:
        now_ms = self.clock.now_ms()
        restore = savepoint or self.newest_state(job)
        self.jobs.end_attempt(job.flink_job_id, outcome=outcome, now_ms=now_ms, savepoint=savepoint)
        state = State.SUSPENDED if job.desired.value == State.SUSPENDED.value else State.STOPPED
        return self.jobs.put(
            replace(
                job,
                flink_job_id="",
                restore_path=restore,
                state=state,
                error="",
                failures=0,
                next_attempt_at_ms=0,
                updated_at_ms=now_ms,
            )
        )

    def _failure_of(self, job: Job) -> str:
        try:
            return self.cluster.health(job.flink_job_id).failure
        except HeadraceError as error:
            return str(error)

    def _record_failure(self, job: Job, reason: str) -> Job:
        now_ms, restore = self.clock.now_ms(), self.newest_state(job)
        self.jobs.end_attempt(job.flink_job_id, outcome="failed", now_ms=now_ms)
        log.warning("job_attempt_failed", job=job.name, flink_job_id=job.flink_job_id, reason=reason)
        failed = replace(job, flink_job_id="", restore_path=restore)
        return self.jobs.put(self._backed_off(failed, reason, state=State.FAILED))

    def _backed_off(self, job: Job, reason: str, *, state: State = State.SUBMITTED) -> Job:
        now_ms, failures = self.clock.now_ms(), job.failures + 1
        return replace(
            job,
            state=state,
            error=reason,
            failures=failures,
            next_attempt_at_ms=now_ms + backoff_ms(failures),
            updated_at_ms=now_ms,
        )


def _local(path: str) -> str:
    """Flink answers with a URI (`file:/…`); local folders are kept as plain paths."""
    for prefix in ("file://", "file:"):
        if path.startswith(prefix):
            return path.removeprefix(prefix)
    return path
