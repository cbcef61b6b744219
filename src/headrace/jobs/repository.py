"""Jobs and attempts in the store. Whole values in, whole values out; each method is one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import select, update

from headrace.catalog.models import AttemptRow, JobRow
from headrace.catalog.store import Store
from headrace.core.errors import NotFound, nearest
from headrace.jobs.model import Attempt, Desired, Job, JobSpec, State

ATTEMPTS_KEPT = 50  # per job; older ones are history that the journal tells


class JobRepository:
    """Jobs by name, and their attempts."""

    def __init__(self, store: Store) -> None:
        self._sessions = store.sessions

    def jobs(self) -> list[Job]:
        """All jobs, by name."""
        with self._sessions() as session:
            return [_job(row) for row in session.scalars(select(JobRow).order_by(JobRow.name))]

    def find(self, name: str) -> Job | None:
        """One job, or None."""
        with self._sessions() as session:
            row = session.get(JobRow, name)
            return None if row is None else _job(row)

    def get(self, name: str) -> Job:
        """One job.

        Raises:
            NotFound: there is none; the nearest names are offered.
        """
        found = self.find(name)
        if found is not None:
            return found
        known = [job.name for job in self.jobs()]
        close = nearest(name, known)
        hint = f"did you mean {', '.join(close)}?" if close else "see `headrace job list`"
        raise NotFound("no such job", context={"job": name}, hint=hint)

    def put(self, job: Job) -> Job:
        """Store a job, new or changed."""
        with self._sessions.begin() as session:
            session.merge(_job_row(job))
        return job

    def remove(self, name: str) -> None:
        """Forget a job that never ran; its attempts stay as history."""
        with self._sessions.begin() as session:
            row = session.get(JobRow, name)
            if row is not None:
                session.delete(row)

    def begin_attempt(self, job: Job, attempt: Attempt) -> None:
        """Store a job together with the attempt that it is about to make, before anything is sent."""
        with self._sessions.begin() as session:
            session.merge(_job_row(job))
            session.add(AttemptRow(**msgspec.structs.asdict(attempt)))

    def end_attempt(self, flink_job_id: str, *, outcome: str, now_ms: int, savepoint: str = "") -> None:
        """Complete an attempt; a no-op when it is unknown or was completed before."""
        with self._sessions.begin() as session:
            session.execute(
                update(AttemptRow)
                .where(AttemptRow.flink_job_id == flink_job_id, AttemptRow.outcome == "open")
                .values(outcome=outcome, ended_at_ms=now_ms, savepoint=savepoint)
            )

    def owners(self, flink_job_ids: Iterable[str]) -> dict[str, str]:
        """Flink id → job, for those of the ids that are attempts of ours."""
        wanted = list(flink_job_ids)
        with self._sessions() as session:
            rows = session.execute(
                select(AttemptRow.flink_job_id, AttemptRow.job).where(AttemptRow.flink_job_id.in_(wanted))
            )
            return {flink_job_id: job for flink_job_id, job in rows}

    def attempts(self, job: str) -> Sequence[Attempt]:
        """The attempts of a job, newest first, at most `ATTEMPTS_KEPT`."""
        newest = (
            select(AttemptRow)
            .where(AttemptRow.job == job)
            .order_by(AttemptRow.submitted_at_ms.desc())
            .limit(ATTEMPTS_KEPT)
        )
        names = [field.name for field in msgspec.structs.fields(Attempt)]
        with self._sessions() as session:
            return [Attempt(**{name: getattr(row, name) for name in names}) for row in session.scalars(newest)]


def _job(row: JobRow) -> Job:
    return Job(
        name=row.name,
        project=row.project,
        desired=Desired(row.desired),
        spec=msgspec.json.decode(row.spec, type=JobSpec),
        fingerprint=row.fingerprint,
        flink_job_id=row.flink_job_id,
        restore_path=row.restore_path,
        state=State(row.state),
        error=row.error,
        failures=row.failures,
        next_attempt_at_ms=row.next_attempt_at_ms,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
    )


def _job_row(job: Job) -> JobRow:
    values = {field.name: getattr(job, field.name) for field in msgspec.structs.fields(Job)}
    values["spec"] = msgspec.json.encode(job.spec).decode()
    values["desired"], values["state"] = job.desired.value, job.state.value
    return JobRow(**values)
