"""The cluster behind Flink's REST API, as the job host needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from headrace.core.clock import Clock
from headrace.core.errors import Conflict, NotFound, Unavailable
from headrace.jobs.cluster import Health
from headrace.jobs.model import ObservedJob

REQUEST_TIMEOUT_S = 10.0
# A savepoint of the largest state that the local stack is meant for (1 GiB at 50 MB/s) and twice that again.
SAVEPOINT_TIMEOUT_S = 60.0
CANCEL_TIMEOUT_S = 30.0
POLL_S = 0.1
_ENDED = ("FINISHED", "CANCELED", "FAILED")
_FAILURE_CHARS_MAX = 600


class RestCluster:
    """One JobManager; safe for threads."""

    def __init__(self, url: str, clock: Clock, client: httpx.Client | None = None) -> None:
        self._url = url
        self._clock = clock
        self._client = client or httpx.Client(base_url=url, timeout=REQUEST_TIMEOUT_S, trust_env=False)

    def jobs(self) -> dict[str, ObservedJob]:
        """All jobs that it knows, ended ones included, by id."""
        rows = self._call("GET", "/jobs/overview")["jobs"]
        return {row["jid"]: ObservedJob(row["jid"], row["name"], row["state"]) for row in rows}

    def health(self, flink_job_id: str) -> Health:
        """One job: its status, its tasks, and the newest failure."""
        job = self._call("GET", f"/jobs/{flink_job_id}")
        vertices = job.get("vertices", [])
        return Health(
            status=job["state"],
            tasks_running=sum(vertex["tasks"].get("RUNNING", 0) for vertex in vertices),
            tasks_total=sum(max(vertex["parallelism"], 1) for vertex in vertices),
            failure=self._failure(flink_job_id),
        )

    def stop_with_savepoint(self, flink_job_id: str, folder: Path) -> str:
        """Savepoint into `folder`, then stop; returns the savepoint's path when the job has ended.

        Raises:
            Conflict: Flink could not take the savepoint; the job runs on.
            Unavailable: it took too long.
        """
        body = {"targetDirectory": folder.absolute().as_uri(), "drain": False}
        trigger = self._call("POST", f"/jobs/{flink_job_id}/stop", json=body)["request-id"]
        deadline_s = self._clock.monotonic_s() + SAVEPOINT_TIMEOUT_S
        while self._clock.monotonic_s() < deadline_s:
            answer = self._call("GET", f"/jobs/{flink_job_id}/savepoints/{trigger}")
            if answer["status"]["id"] == "COMPLETED":
                return self._savepoint_of(flink_job_id, answer.get("operation") or {})
            self._clock.sleep(POLL_S)
        raise Unavailable(
            "the savepoint took too long",
            operation="flink.stop",
            context={"flink_job_id": flink_job_id, "timeout_s": SAVEPOINT_TIMEOUT_S},
        )

    def cancel(self, flink_job_id: str) -> None:
        """Cancel, and return when the job has ended; a no-op for one that has or is unknown."""
        deadline_s = self._clock.monotonic_s() + CANCEL_TIMEOUT_S
        asked = False
        while self._clock.monotonic_s() < deadline_s:
            try:
                if self._call("GET", f"/jobs/{flink_job_id}")["state"] in _ENDED:
                    return
                if not asked:
                    self._call("PATCH", f"/jobs/{flink_job_id}", params={"mode": "cancel"})
                    asked = True
            except NotFound:
                return
            self._clock.sleep(POLL_S)
        raise Unavailable("cancelling took too long", operation="flink.cancel", context={"flink_job_id": flink_job_id})

    def _savepoint_of(self, flink_job_id: str, operation: dict[str, Any]) -> str:
        cause = operation.get("failure-cause")
        if cause is not None:
            raise Conflict(
                f"Flink could not take the savepoint: {_sentence(str(cause.get('stack-trace', '')))}",
                operation="flink.stop",
                context={"flink_job_id": flink_job_id},
            )
        return str(operation["location"])

    def _failure(self, flink_job_id: str) -> str:
        answer = self._call("GET", f"/jobs/{flink_job_id}/exceptions", params={"maxExceptions": "1"})
        entries = answer.get("exceptionHistory", {}).get("entries", [])
        return _sentence(entries[0].get("stacktrace", "")) if entries else ""

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the JobManager does not answer: {error}",
                operation="flink.rest",
                context={"url": self._url},
                hint="see `headrace status`",
            ) from error
        if response.is_success:
            return response.json()
        reason = _sentence(_errors_of(response))
        context = {"path": path, "status": response.status_code}
        if response.status_code == 404:
            raise NotFound(reason or "the cluster does not know it", operation="flink.rest", context=context)
        if response.status_code in (400, 409):
            raise Conflict(reason, operation="flink.rest", context=context)
        raise Unavailable(reason, operation="flink.rest", context=context)


def _errors_of(response: httpx.Response) -> str:
    try:
        errors = response.json().get("errors", [])
    except ValueError:
        return response.text
    return "\n".join(str(error) for error in errors)


def _sentence(trace: str) -> str:
    """The innermost `Caused by` of a Java stack trace, else its first line; bounded."""
    lines = [line.strip() for line in trace.splitlines()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    plain = [line for line in lines if line and not line.startswith("at ")]
    return (causes[-1] if causes else plain[0] if plain else "")[:_FAILURE_CHARS_MAX]
