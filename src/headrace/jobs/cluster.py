"""The seam to a cluster: what the job host asks of Flink's REST API, no more."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from headrace.jobs.model import ObservedJob


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How far one job has come; `failure` is the newest root cause in one line, `stack` its whole trace; empty when there is none."""

    status: str
    tasks_running: int
    tasks_total: int
    failure: str = ""
    stack: str = ""

    @property
    def running(self) -> bool:
        """Whether every task runs, which also means that its state was restored."""
        return self.status == "RUNNING" and self.tasks_total > 0 and self.tasks_running == self.tasks_total


class Cluster(Protocol):
    """One Flink cluster. Every call raises `Unavailable` when it does not answer in time."""

    def jobs(self) -> dict[str, ObservedJob]:
        """All jobs that it knows, ended ones included, by id."""
        ...

    def health(self, flink_job_id: str) -> Health:
        """One job in more detail; raises NotFound."""
        ...

    def stop_with_savepoint(self, flink_job_id: str, folder: Path, *, canonical: bool) -> str:
        """Savepoint into `folder`, then stop; returns the savepoint's path when the job has ended. Canonical: any backend reads it."""
        ...

    def cancel(self, flink_job_id: str) -> None:
        """Cancel, and return when the job has ended; a no-op for one that has."""
        ...
