"""Model test of job host and reconciler: seeded scripts of calls, failures, restarts and crashes between any two steps.

What must hold after each script, once everything answers again: a job that should run has exactly one live attempt, which is the stored one; a job that should
not has none; every attempt started from the newest state that its predecessor left; no journal entry stays open.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.unit.platform_fakes import Crash
from tests.unit.platform_parts import PIPELINE, Parts, deployed, make_parts

from headrace.core.errors import HeadraceError, Unavailable
from headrace.jobs.model import Desired, State

STEPS = 30
VERSIONS = [PIPELINE, PIPELINE.replace("SUM", "MAX"), PIPELINE.replace("SUM", "MIN"), PIPELINE + "-- NEWSTATE\n"]


def deploy(parts: Parts, rng: random.Random) -> None:
    """A user deploys some version."""
    deployed(parts, pipeline=rng.choice(VERSIONS), fresh=rng.random() < 0.1)


def stop(parts: Parts, rng: random.Random) -> None:
    """A user stops it."""
    parts.host.stop("total", savepoint=rng.random() < 0.7)


def fail(parts: Parts, _rng: random.Random) -> None:
    """It fails on the cluster."""
    for flink_job_id in parts.cluster.alive("total"):
        parts.cluster.set(flink_job_id, "FAILED")


def checkpoint(parts: Parts, rng: random.Random) -> None:
    """It completes a checkpoint."""
    for flink_job_id in parts.cluster.alive("total"):
        parts.cluster.checkpoint(flink_job_id, rng.randrange(1, 100))


def unplug(parts: Parts, _rng: random.Random) -> None:
    """The cluster stops answering, or answers again."""
    parts.cluster.down = not parts.cluster.down


def plan_crash(parts: Parts, rng: random.Random) -> None:
    """The daemon will die between two steps of a later action."""
    parts.driver.crash_before_submit = rng.random() < 0.4
    parts.driver.crash_after_submit = rng.random() < 0.4
    parts.cluster.crash_after_stop = rng.random() < 0.4


def lose_answer(parts: Parts, _rng: random.Random) -> None:
    """The next submission arrives, its answer does not."""
    parts.driver.lose_answer = True


def suspend(parts: Parts, _rng: random.Random) -> None:
    """The stack goes down in order."""
    parts.host.suspend()


def resume(parts: Parts, _rng: random.Random) -> None:
    """The stack comes up."""
    parts.host.resume()


def restart(parts: Parts, _rng: random.Random) -> None:
    """The JobManager is killed and comes back."""
    parts.cluster.restart()


def loop(parts: Parts, rng: random.Random) -> None:
    """Some seconds pass."""
    parts.settle(rng.randrange(1, 6))


HAPPENINGS = [deploy, stop, fail, checkpoint, unplug, plan_crash, lose_answer, suspend, resume, restart, *[loop] * 6]


@pytest.mark.parametrize("seed", range(12))
def test_any_script_ends_in_what_was_asked_for(tmp_path: Path, seed: int) -> None:
    """See the module's text; the seed is in the test's name."""
    rng = random.Random(seed)
    parts = make_parts(tmp_path)
    for _ in range(STEPS):
        try:
            rng.choice(HAPPENINGS)(parts, rng)
        except HeadraceError:
            pass
        except Crash:
            parts = parts.reborn()
    parts.cluster.down = False
    parts.cluster.crash_after_stop = parts.driver.crash_before_submit = parts.driver.crash_after_submit = False
    parts.driver.lose_answer = False
    parts = parts.reborn()
    parts.settle(70)
    job = parts.jobs.find("total")
    alive = parts.cluster.alive("total")
    if job is None:
        assert alive == []
    elif job.desired is Desired.RUNNING and job.state is not State.FAILED:
        assert alive == [job.flink_job_id]
        assert job.state in (State.RUNNING, State.FINISHED)
    elif job.desired is not Desired.RUNNING:
        assert (alive, job.flink_job_id) == ([], "")
    assert "begun" not in {entry.outcome for entry in parts.journal.newest(1000)}


def test_after_a_jobmanager_restart_the_newest_checkpoint_is_used(tmp_path: Path) -> None:
    """The cluster forgot the job: it is submitted again within seconds, from chk-12, not from chk-9 or the half-written chk-13."""
    parts = make_parts(tmp_path)
    deployed(parts)
    first = parts.jobs.get("total").flink_job_id
    parts.cluster.checkpoint(first, 9)
    newest = parts.cluster.checkpoint(first, 12)
    (parts.home.checkpoints / first / "chk-13").mkdir()
    parts.cluster.restart()
    parts.settle(5)
    assert parts.driver.submits[-1].savepoint_path == str(newest)
    assert parts.cluster.alive("total") == [parts.jobs.get("total").flink_job_id]
    assert "lost" in {attempt.outcome for attempt in parts.jobs.attempts("total")}


def test_a_job_that_fails_again_and_again_is_tried_ever_more_slowly(tmp_path: Path) -> None:
    """Five minutes of instant failure make some ten attempts, not three hundred; the reason is shown."""
    parts = make_parts(tmp_path)
    deployed(parts)
    parts.driver.on_submit = lambda request: parts.cluster.failures.update({request.job_id: "disk full"})
    for _ in range(300):
        for flink_job_id in parts.cluster.alive("total"):
            parts.cluster.failures[flink_job_id] = "disk full"
            parts.cluster.set(flink_job_id, "FAILED")
        parts.settle(1)
    assert 7 <= len(parts.driver.submits) <= 15
    assert "disk full" in parts.jobs.get("total").error


def test_a_crash_right_after_submitting_does_not_make_two_jobs(tmp_path: Path) -> None:
    """The attempt's id was stored before: the reborn daemon recognises the running job as its own."""
    parts = make_parts(tmp_path)
    parts.driver.crash_after_submit = True
    with pytest.raises(Crash):
        deployed(parts)
    reborn = parts.reborn()
    reborn.settle()
    assert len(parts.driver.submits) == 1
    assert parts.cluster.alive("total") == [reborn.jobs.get("total").flink_job_id]


def test_a_crash_between_stop_and_restart_of_a_replaced_job_loses_nothing(tmp_path: Path) -> None:
    """The savepoint was taken, its path not stored: the old version goes on from it."""
    parts = make_parts(tmp_path)
    deployed(parts)
    parts.cluster.crash_after_stop = True
    with pytest.raises(Crash):
        deployed(parts, pipeline=VERSIONS[1])
    reborn = parts.reborn()
    reborn.settle()
    assert "savepoint-" in parts.driver.submits[-1].savepoint_path
    assert "SUM" in reborn.jobs.get("total").spec.script.text


def test_checkpoints_of_ended_attempts_are_removed_once_the_new_one_has_its_own(tmp_path: Path) -> None:
    """Disk use does not grow with the number of restarts, and nothing is removed too early."""
    parts = make_parts(tmp_path)
    deployed(parts)
    first = parts.jobs.get("total").flink_job_id
    parts.cluster.checkpoint(first, 1)
    parts.cluster.restart()
    parts.settle(40)
    assert (parts.home.checkpoints / first).exists()
    parts.cluster.checkpoint(parts.jobs.get("total").flink_job_id, 1)
    parts.settle(40)
    assert not (parts.home.checkpoints / first).exists()


def test_a_driver_that_is_still_starting_costs_no_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the stack's start the job waits for the driver: no failure is counted, and it runs as soon as the driver answers."""
    parts = make_parts(tmp_path)
    deployed(parts)
    parts.cluster.restart()

    def refuse() -> None:
        raise Unavailable("driver is not running")

    with monkeypatch.context() as starting:
        starting.setattr(parts.driver, "ping", refuse)
        parts.settle(20)
    assert (len(parts.driver.submits), parts.jobs.get("total").failures) == (1, 0)
    parts.settle(4)
    assert len(parts.cluster.alive("total")) == 1
