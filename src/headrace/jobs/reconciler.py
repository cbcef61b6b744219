"""The loop: collect (one look at the cluster) → evaluate (how long absent) → decide (pure) → realize (under the job's lock).

A job whose lock is held by a user's call is left for the next round. Errors of one job do not keep the others from their turn: they are counted in the job's
own failures, logged, and tried again after the back-off. Every so often what nothing needs any more is removed: checkpoints of ended attempts,
once the current one has its own.
"""

from __future__ import annotations

import threading
from datetime import timedelta

from headrace.catalog.journal import Act
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError
from headrace.core.log import get_logger
from headrace.jobs.decide import Decision, Keep, Wait, decide_job
from headrace.jobs.host import JobHost
from headrace.jobs.model import Job, Observed, State
from headrace.jobs.realize import RECONCILER
from headrace.jobs.snapshots import newest_checkpoint, remove_checkpoints

log = get_logger("headrace.jobs")
INTERVAL = timedelta(seconds=1)
CLEAN_EVERY = 30  # rounds


class Reconciler:
    """Makes the cluster agree with what is stored."""

    def __init__(self, host: JobHost, clock: Clock) -> None:
        self._host = host
        self._clock = clock
        self._absent_since_ms: dict[str, int] = {}
        self._round = 0

    def run(self, stop: threading.Event) -> None:
        """Step until told to stop; nothing that goes wrong in a round ends the loop."""
        while not stop.wait(INTERVAL.total_seconds()):
            try:
                self.step()
            except Exception as error:
                log.error("reconcile_failed", exc=error)

    def step(self) -> dict[str, Decision]:
        """One round, important jobs first; returns what was decided for each job that was free."""
        observed = self._host.observe()
        decisions: dict[str, Decision] = {}
        for job in sorted(self._host.jobs.jobs(), key=lambda job: (job.spec.tier, job.name)):
            lock = self._host.lock(job.name)
            if not lock.acquire(blocking=False):
                continue
            try:
                fresh = self._host.jobs.find(job.name)
                if fresh is not None and fresh == job:
                    decisions[job.name] = self._step_job(job, observed)
            finally:
                lock.release()
        self._fence_orphans(observed)
        self._round += 1
        if self._round % CLEAN_EVERY == 0:
            self._clean()
        return decisions

    def _step_job(self, job: Job, observed: Observed) -> Decision:
        realizer = self._host.realizer
        facts = realizer.facts(job, observed, absent_for_ms=self._absent_for_ms(job, observed))
        decision = decide_job(job, observed, facts)
        if not isinstance(decision, Keep | Wait):
            log.info("job_decided", job=job.name, decision=type(decision).__name__, desired=job.desired.value)
        try:
            realizer.realize(job, decision)
        except HeadraceError as error:
            log.warning("job_action_failed", job=job.name, decision=type(decision).__name__, reason=str(error))
        return decision

    def _fence_orphans(self, observed: Observed) -> None:
        """Cancel jobs of ours that no stored job stands for: a submission that arrived after it had been given up."""
        host = self._host
        owners = host.jobs.owners(observed.jobs or ())
        for seen in (observed.jobs or {}).values():
            name = owners.get(seen.flink_job_id, "")
            if not name or not seen.alive or host.jobs.find(name) is not None:
                continue
            act = Act(RECONCILER, "job.fence", name, "no stored job stands for it", "only declared jobs run")
            try:
                with host.lock(name), host.realizer.journal.recording(act) as effect:
                    if host.jobs.find(name) is None:
                        host.cluster.cancel(seen.flink_job_id)
                        host.jobs.end_attempt(seen.flink_job_id, outcome="cancelled", now_ms=self._clock.now_ms())
                        effect.measured = f"cancelled {seen.flink_job_id}"
            except HeadraceError as error:
                log.warning("orphan_not_cancelled", job=name, reason=str(error))

    def _absent_for_ms(self, job: Job, observed: Observed) -> int:
        if observed.jobs is None or not job.flink_job_id or job.flink_job_id in observed.jobs:
            self._absent_since_ms.pop(job.name, None)
            return 0
        now_ms = round(self._clock.monotonic_s() * 1000)
        return now_ms - self._absent_since_ms.setdefault(job.name, now_ms)

    def _clean(self) -> None:
        home = self._host.realizer.home
        for job in self._host.jobs.jobs():
            if job.state is not State.RUNNING or newest_checkpoint(home.checkpoints, job.flink_job_id) is None:
                continue
            for attempt in self._host.jobs.attempts(job.name):
                if attempt.outcome != "open" and remove_checkpoints(home.checkpoints, attempt.flink_job_id):
                    log.info("checkpoints_removed", job=job.name, flink_job_id=attempt.flink_job_id)
