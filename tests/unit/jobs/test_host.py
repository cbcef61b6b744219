"""Deploying, replacing, stopping and suspending jobs over fakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.platform_parts import CITY, PIPELINE, TOTALS, Parts, deployed, make_parts, small_project

from headrace.core.errors import Conflict, HeadraceError, Internal, Invalid, NotFound, Unavailable
from headrace.jobs.model import Desired, State
from headrace.jobs.queries import run_query

CHANGED = PIPELINE.replace("SUM", "MAX")


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """A control plane over fakes."""
    return make_parts(tmp_path)


def test_a_deploy_submits_with_checkpoints_and_physical_options(parts: Parts) -> None:
    """The job runs, its request carries the profile, the parallelism and this stack's addresses; plan and journal are kept."""
    deployed(parts)
    job, (request,) = parts.jobs.get("total"), parts.driver.submits
    assert (job.state, job.desired, request.job_name) == (State.RUNNING, Desired.RUNNING, "total")
    assert request.config == {"execution.checkpointing.interval": "1 s", "parallelism.default": "2"}
    options = {table.name: table.options for table in request.tables}
    assert options["orders"]["properties.bootstrap.servers"] == "127.0.0.1:9092"
    assert options["totals"]["url"] == "http://127.0.0.1:8123"
    assert parts.planner.plan_path(job.spec).is_file()
    assert [entry.action for entry in parts.journal.newest()] == ["job.submit", "table.apply"]
    assert parts.jobs.attempts("total")[0].outcome == "open"


def test_a_restart_runs_the_kept_plan_and_makes_a_lost_one_again(parts: Parts) -> None:
    """The same plan goes with every submission of a version; a file that is gone is compiled anew, not a reason to fail."""
    deployed(parts)
    path = parts.planner.plan_path(parts.jobs.get("total").spec)
    path.write_text('{"kept": 1}')
    parts.host.stop("total")
    deployed(parts)
    assert parts.driver.submits[-1].plan == '{"kept": 1}'
    parts.host.stop("total")
    path.unlink()
    deployed(parts)
    assert (parts.driver.submits[-1].plan, path.is_file()) == ('{"nodes": []}', True)


def test_the_same_version_again_is_left_alone(parts: Parts) -> None:
    """A deploy without a change touches nothing."""
    deployed(parts)
    again = deployed(parts)
    assert (again.action, len(parts.driver.submits)) == ("unchanged", 1)


def test_a_changed_version_starts_from_the_savepoint_of_the_old(parts: Parts) -> None:
    """Stop with savepoint, then start from exactly that; one attempt at a time."""
    deployed(parts)
    deployed(parts, pipeline=CHANGED)
    first, second = parts.driver.submits
    assert second.savepoint_path.startswith(str(parts.home.savepoints / "total" / f"savepoint-{first.job_id[:6]}"))
    assert parts.cluster.alive("total") == [second.job_id]
    assert [attempt.outcome for attempt in parts.jobs.attempts("total")] == ["open", "stopped"]


def test_fresh_starts_without_state(parts: Parts) -> None:
    """`--fresh` replaces even an unchanged job and gives it no state."""
    deployed(parts)
    deployed(parts, fresh=True)
    assert parts.driver.submits[1].savepoint_path == ""
    assert len(parts.cluster.alive("total")) == 1


def test_incompatible_state_brings_the_old_version_back(parts: Parts) -> None:
    """The caller learns why and of --fresh; the old SQL runs again from the savepoint that was taken."""
    deployed(parts)
    with pytest.raises(Conflict) as caught:
        deployed(parts, pipeline=PIPELINE + "-- NEWSTATE\n")
    assert "--fresh" in caught.value.hint
    job = parts.jobs.get("total")
    assert "NEWSTATE" not in job.spec.script.text
    assert parts.cluster.alive("total") == [job.flink_job_id]
    assert "savepoint-" in parts.cluster.restored[job.flink_job_id]
    deployed(parts, pipeline=PIPELINE + "-- NEWSTATE\n", fresh=True)
    assert "NEWSTATE" in parts.jobs.get("total").spec.script.text


def test_a_failed_first_deploy_leaves_no_job(parts: Parts) -> None:
    """What could not be submitted is not in the list afterwards."""
    parts.driver.refuse = "table options do not fit"
    with pytest.raises(Invalid, match="do not fit"):
        deployed(parts)
    assert parts.jobs.jobs() == []


def test_a_lost_answer_leaves_no_unknown_job(parts: Parts) -> None:
    """The submission arrived although its answer was lost: the attempt is cancelled, nothing runs unasked."""
    parts.driver.lose_answer = True
    with pytest.raises(Unavailable):
        deployed(parts)
    parts.settle()
    assert parts.cluster.alive("total") == []


@pytest.mark.parametrize(
    ("pipeline", "says", "hints"),
    [
        (PIPELINE.replace("orders", "ordres"), "no such table", "orders"),
        (PIPELINE.replace("INSERT", "BROKEN"), "BROKEN", ""),
        ("-- name: total\nSELECT 1", "writes nothing", "INSERT INTO"),
        ("-- name: total\nINSERT INTO totals SELECT * FROM totals", "cannot read this table", "feeds it"),
        ("-- name: total\nSET 'execution.checkpointing.interval' = '0';\nINSERT INTO totals SELECT * FROM orders", "cannot set", "always on"),
    ],
)  # fmt: skip
def test_wrong_pipelines_are_told_with_place_and_hint(parts: Parts, pipeline: str, says: str, hints: str) -> None:
    """Nothing is stored or submitted; the place is in the user's file."""
    with pytest.raises(HeadraceError) as caught:
        deployed(parts, pipeline=pipeline)
    assert says in caught.value.message
    assert hints in caught.value.hint
    assert str(caught.value.place).startswith("pipelines/total.sql")
    assert (parts.jobs.jobs(), parts.driver.submits) == ([], [])


def test_a_profile_without_checkpoints_is_refused(parts: Parts) -> None:
    """A job without checkpoints would lose its state at a restart: it never starts."""
    parts.planner.job_config.clear()  # type: ignore[attr-defined]
    with pytest.raises(Internal, match="without checkpoints"):
        deployed(parts)


def test_a_stop_keeps_the_state_for_the_next_deploy(parts: Parts) -> None:
    """After stop and deploy the job goes on from the savepoint."""
    deployed(parts)
    stopped = parts.host.stop("total")
    assert (stopped.state, stopped.desired, stopped.flink_job_id) == (State.STOPPED, Desired.STOPPED, "")
    parts.settle()
    assert parts.cluster.alive("total") == []
    deployed(parts)
    assert parts.driver.submits[-1].savepoint_path == stopped.restore_path != ""


def test_a_stop_without_savepoint_falls_back_to_the_last_checkpoint(parts: Parts) -> None:
    """`--no-savepoint` cancels; the retained checkpoint is what a later deploy starts from."""
    deployed(parts)
    kept = parts.cluster.checkpoint(parts.jobs.get("total").flink_job_id, 7)
    assert parts.host.stop("total", savepoint=False).restore_path == str(kept)


def test_a_failed_savepoint_leaves_the_job_running(parts: Parts) -> None:
    """The stop fails with a hint, and the reconciler does not finish it behind the user's back."""
    deployed(parts)
    parts.cluster.savepoints_fail = True
    with pytest.raises(Unavailable) as caught:
        parts.host.stop("total")
    assert "--no-savepoint" in caught.value.hint
    parts.settle()
    assert (parts.jobs.get("total").state, len(parts.cluster.alive("total"))) == (State.RUNNING, 1)


def test_stopping_what_does_not_exist_offers_names(parts: Parts) -> None:
    """Unknown jobs are answered with the nearest."""
    deployed(parts)
    with pytest.raises(NotFound) as caught:
        parts.host.stop("totla")
    assert "total" in caught.value.hint


def test_suspended_jobs_come_back_at_the_next_start(parts: Parts) -> None:
    """The stack's orderly stop: savepoint, cluster gone, daemon restarted, job runs from the savepoint."""
    deployed(parts)
    (suspended,) = parts.host.suspend()
    assert suspended.error == ""
    assert parts.jobs.get("total").state is State.SUSPENDED
    parts.cluster.restart()
    reborn = parts.reborn()
    assert reborn.host.resume() == ["total"]
    reborn.settle()
    assert parts.driver.submits[-1].savepoint_path == suspended.savepoint
    assert reborn.jobs.get("total").state is State.RUNNING
    parts.host.stop("total")
    assert parts.cluster.canonical == [
        False,
        True,
    ]  # only who is stopped for good may come back on another state backend


def test_a_deploy_of_a_job_that_is_being_resumed_waits_until_it_runs(parts: Parts) -> None:
    """Nothing is submitted again, and what is told is that it runs, though the reconciler has not looked since."""
    deployed(parts)
    parts.host.suspend()
    parts.cluster.restart()
    reborn = parts.reborn()
    reborn.host.resume()
    for _ in range(8):
        if reborn.jobs.get("total").state is State.SUBMITTED:
            break
        reborn.settle(rounds=1)
    assert reborn.jobs.get("total").state is State.SUBMITTED
    again = deployed(reborn)
    assert (again.action, again.state, len(parts.driver.submits)) == ("unchanged", "running", 2)


def test_a_job_that_cannot_be_suspended_restarts_from_its_checkpoint(parts: Parts) -> None:
    """A failed savepoint does not stop the stack from going down; the last checkpoint is used instead."""
    deployed(parts)
    checkpoint = parts.cluster.checkpoint(parts.jobs.get("total").flink_job_id, 3)
    parts.cluster.savepoints_fail = True
    (suspended,) = parts.host.suspend()
    assert "no space left" in suspended.error
    parts.cluster.restart()
    reborn = parts.reborn()
    reborn.host.resume()
    reborn.settle()
    assert parts.driver.submits[-1].savepoint_path == str(checkpoint)


def test_a_name_of_another_project_is_not_taken_over(parts: Parts) -> None:
    """Job names are global."""
    deployed(parts)
    other = small_project(toml='name = "other"\n[targets.local]\n')
    with pytest.raises(Conflict, match="another project"):
        parts.host.deploy(other, other.pipeline("total"), target=other.target("local"))


def test_a_query_sees_bounded_tables_that_can_be_read(parts: Parts) -> None:
    """Write-only systems are left out; the limit is checked."""
    parts.applier.apply(small_project(tables__totals=TOTALS), (CITY,), actor="test")
    assert run_query(parts.planner, "SELECT 1", limit=10).rows == [[1]]
    with pytest.raises(Invalid, match="bad limit"):
        run_query(parts.planner, "SELECT 1", limit=0)
