"""The reconciler's decision, case by case, as the table in the module says."""

from __future__ import annotations

import pytest
from tests.unit.platform_parts import small_project

from headrace.flink.protocol import Script
from headrace.jobs.decide import (
    BACKOFF_MAX_MS,
    HEALTHY_AFTER_MS,
    Cancel,
    Decision,
    Facts,
    Fence,
    Finish,
    Keep,
    Settle,
    Stop,
    Submit,
    Wait,
    backoff_ms,
    decide_job,
)
from headrace.jobs.model import Desired, Job, JobSpec, Observed, ObservedJob, State

NOW = 1_800_000_000_000
SPEC = JobSpec(name="total", project="shop", target="local", tier="P0", parallelism=2, script=Script("", "p.sql"))


def job(
    desired: Desired = Desired.RUNNING,
    *,
    flink_job_id: str = "a",
    state: State = State.RUNNING,
    failures: int = 0,
    next_attempt_at_ms: int = 0,
) -> Job:
    """A job as stored."""
    return Job(
        name="total",
        project=small_project().name,
        desired=desired,
        spec=SPEC,
        fingerprint="f",
        flink_job_id=flink_job_id,
        state=state,
        failures=failures,
        next_attempt_at_ms=next_attempt_at_ms,
        updated_at_ms=NOW - HEALTHY_AFTER_MS,
    )


def seen(*jobs: tuple[str, str]) -> Observed:
    """The cluster's answer: (id, status)."""
    return Observed({flink_id: ObservedJob(flink_id, "total", status) for flink_id, status in jobs})


def facts(absent_for_ms: int = 0, *, has_savepoint: bool = False) -> Facts:
    """What else is known; attempts a and old are ours."""
    return Facts(now_ms=NOW, absent_for_ms=absent_for_ms, has_savepoint=has_savepoint, attempts=frozenset({"a", "old"}))


@pytest.mark.parametrize(
    ("stored", "observed", "known", "wanted"),
    [
        (job(), Observed(None, "down"), facts(), Wait),
        (job(Desired.STOPPED), Observed(None, "down"), facts(), Wait),
        (job(), seen(("a", "RUNNING")), facts(), Keep(State.RUNNING)),
        (job(failures=2), seen(("a", "RUNNING")), facts(), Keep(State.RUNNING, forgive=True)),
        (job(), seen(("a", "RESTARTING")), facts(), Keep(State.RESTARTING)),
        (job(), seen(("a", "INITIALIZING")), facts(), Keep(State.RESTARTING)),
        (job(flink_job_id=""), seen(), facts(), Submit),
        (job(), seen(), facts(), Wait),
        (job(), seen(), facts(2000), Submit),
        (job(next_attempt_at_ms=NOW + 1), seen(), facts(9000), Wait),
        (job(), seen(("a", "FAILED")), facts(), Submit("it failed on the cluster", failed=True)),
        (job(), seen(("a", "CANCELED")), facts(), Submit),
        (job(), seen(("a", "FINISHED")), facts(), Finish),
        (job(), seen(("a", "FINISHED")), facts(has_savepoint=True), Submit),
        (job(state=State.FINISHED, flink_job_id=""), seen(), facts(), Keep(State.FINISHED)),
        (job(), seen(("a", "RUNNING"), ("old", "RUNNING")), facts(), Fence),
        (job(), seen(("a", "RUNNING"), ("foreign", "RUNNING")), facts(), Keep(State.RUNNING)),
        (job(), seen(("a", "RUNNING"), ("old", "CANCELED")), facts(), Keep(State.RUNNING)),
        (job(Desired.STOPPED), seen(("a", "RUNNING")), facts(), Stop),
        (job(Desired.SUSPENDED), seen(("a", "RESTARTING")), facts(), Stop),
        (job(Desired.CANCELLED), seen(("a", "RUNNING")), facts(), Cancel),
        (job(Desired.STOPPED), seen(("a", "CANCELLING")), facts(), Wait),
        (job(Desired.STOPPED, next_attempt_at_ms=NOW + 1), seen(("a", "RUNNING")), facts(), Wait),
        (job(Desired.STOPPED), seen(), facts(), Settle(State.STOPPED)),
        (job(Desired.SUSPENDED), seen(("a", "FINISHED")), facts(), Settle(State.SUSPENDED)),
        (job(Desired.STOPPED, flink_job_id="", state=State.STOPPED), seen(), facts(), Keep(State.STOPPED)),
    ],
)
def test_each_case_has_its_decision(stored: Job, observed: Observed, known: Facts, wanted: Decision | type) -> None:
    """One row of the table: a type where the words do not matter, a value where they do."""
    decision = decide_job(stored, observed, known)
    assert type(decision) is wanted if isinstance(wanted, type) else decision == wanted


def test_back_off_doubles_and_is_capped() -> None:
    """No wait without a failure, then 1, 2, 4 s, at most a minute, also after very many."""
    assert [backoff_ms(failures) for failures in (0, 1, 2, 3)] == [0, 1000, 2000, 4000]
    assert backoff_ms(10_000) == BACKOFF_MAX_MS
