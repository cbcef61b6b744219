"""The cluster behind Flink's REST API (`headrace.flink.rest`), as the job host needs it."""

from __future__ import annotations

from pathlib import Path

from headrace.core.clock import Clock
from headrace.core.errors import Conflict, NotFound, Unavailable
from headrace.flink.rest import FlinkRest
from headrace.jobs.cluster import Health
from headrace.jobs.model import ObservedJob

# A savepoint of the largest state that the local stack is meant for (1 GiB at 50 MB/s), three times over.
SAVEPOINT_TIMEOUT_S = 60.0
CANCEL_TIMEOUT_S = 30.0
POLL_S = 0.1
STACK_CHARS_MAX = 20_000


class RestCluster:
    """One JobManager; safe for threads."""

    def __init__(self, rest: FlinkRest, clock: Clock) -> None:
        self._rest = rest
        self._clock = clock

    def jobs(self) -> dict[str, ObservedJob]:
        """All jobs that it knows, ended ones included, by id."""
        return {job.id: ObservedJob(job.id, job.name, job.state) for job in self._rest.jobs()}

    def health(self, flink_job_id: str) -> Health:
        """One job: its status, its tasks, and the newest failure."""
        job = self._rest.job(flink_job_id)
        newest = next(iter(self._rest.failures(flink_job_id, limit=1)), None)
        if newest is None and job.state == "FAILED":
            newest = self._rest.end_cause(flink_job_id)
        return Health(
            status=job.state,
            tasks_running=sum(vertex.tasks.get("RUNNING", 0) for vertex in job.vertices),
            tasks_total=sum(max(vertex.parallelism, 1) for vertex in job.vertices),
            failure=newest.summary if newest else "",
            stack=newest.stack[:STACK_CHARS_MAX] if newest else "",
        )

    def stop_with_savepoint(self, flink_job_id: str, folder: Path, *, canonical: bool) -> str:
        """Savepoint into `folder`, then stop; returns the savepoint's path when the job has ended.

        Raises:
            Unavailable: Flink could not take the savepoint, or not in time; the job runs on.
        """
        target = folder.absolute().as_uri()
        return self._rest.stop_with_savepoint(flink_job_id, target, canonical=canonical, timeout_s=SAVEPOINT_TIMEOUT_S)

    def cancel(self, flink_job_id: str) -> None:
        """Cancel, and return when the job has ended; a no-op for one that has or is unknown."""
        deadline_s = self._clock.monotonic_s() + CANCEL_TIMEOUT_S
        while self._clock.monotonic_s() < deadline_s:
            # The list answers while a job is initializing, the question about the job itself does not.
            seen = self.jobs().get(flink_job_id)
            if seen is None or not seen.alive:
                return
            try:
                self._rest.cancel(flink_job_id)
            except (Conflict, NotFound):
                continue  # it ended between the two questions
            self._clock.sleep(POLL_S)
        raise Unavailable("cancelling took too long", operation="flink.cancel", context={"flink_job_id": flink_job_id})
