"""Faults of a user's own local stack that are watched to their end: the JobManager's restart.

Without high availability a JobManager forgets its jobs; the job host starts them again from their newest checkpoints. Nothing of this needs root.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, NotFound
from headrace.core.home import Home
from headrace.flink.rest import FlinkRest, JobSummary
from headrace.guard.lab.timeline import Timeline
from headrace.stack.client import ask, status
from headrace.stack.messages import ProcessStatus, Request

JOB_MANAGER = "jobmanager"
POLL_S = 0.2


class RestartResult(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds after the kill (wall ms): when the JobManager answered, and when each job that had run ran again; None if not in time."""

    fault_ms: int
    back_s: float | None
    jobs_s: dict[str, float | None]

    @property
    def passed(self) -> bool:
        """Whether everything is back."""
        return self.back_s is not None and None not in self.jobs_s.values()

    def timeline(self) -> Timeline:
        """The same as a timeline: restarting when the JobManager was back, running when the last job was."""
        known = [seconds for seconds in self.jobs_s.values() if seconds is not None]
        lacking = [name for name, seconds in self.jobs_s.items() if seconds is None]
        problem = (
            "the JobManager did not come back" if self.back_s is None else "not all jobs run again" * bool(lacking)
        )
        return Timeline(
            case="restart-jm",
            host=JOB_MANAGER,
            fault_ms=self.fault_ms,
            restarting_ms=self._at_ms(self.back_s),
            running_ms=self._at_ms(max(known)) if known and not lacking else None,
            restarts=1 if self.jobs_s else 0,
            problem=problem,
        )

    def _at_ms(self, seconds: float | None) -> int | None:
        return None if seconds is None else self.fault_ms + round(seconds * 1000)


def restart_job_manager(home: Home, *, clock: Clock, timeout_s: float) -> RestartResult:
    """Kill the JobManager and wait until it and all of its jobs are back.

    Raises:
        Unavailable: no stack runs here, or its JobManager does not answer.
        NotFound: the stack has no JobManager that runs.
    """
    old = _job_manager(home)
    if old is None or not old.pid:
        raise NotFound("no JobManager runs here", context={"home": home.root}, hint="`headrace status`")
    with FlinkRest(home.load_stack().endpoints.flink, clock) as rest:
        jobs: dict[str, float | None] = dict.fromkeys(sorted(running_jobs(rest.jobs())))
        begun_s, fault_ms = clock.monotonic_s(), clock.now_ms()
        ask(home, Request("kill", (JOB_MANAGER,)))
        back_s: float | None = None
        while clock.monotonic_s() - begun_s < timeout_s and not (back_s is not None and None not in jobs.values()):
            clock.sleep(POLL_S)
            elapsed_s = round(clock.monotonic_s() - begun_s, 1)
            if back_s is None:
                new = _job_manager(home)
                if new is None or new.pid == old.pid or new.state != "ready":
                    continue
                back_s = elapsed_s
            try:
                again = running_jobs(rest.jobs())
            except HeadraceError:
                continue  # it may still be busy with its start
            jobs = {name: at if at is not None or name not in again else elapsed_s for name, at in jobs.items()}
    return RestartResult(fault_ms=fault_ms, back_s=back_s, jobs_s=jobs)


def running_jobs(jobs: Iterable[JobSummary]) -> set[str]:
    """Names of the jobs all of whose tasks run; pure."""
    return {
        job.name
        for job in jobs
        if job.state == "RUNNING" and 0 < job.tasks.get("total", 0) == job.tasks.get("running", 0)
    }


def _job_manager(home: Home) -> ProcessStatus | None:
    return next((row for row in status(home).processes if row.name == JOB_MANAGER), None)
