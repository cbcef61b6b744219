"""The lab with several JobManagers: what its faults ask for, what counts as recovered, and a local JobManager's restart; no cluster."""

from __future__ import annotations

import httpx
import msgspec
import pytest

from headrace.cli.chaos_commands import setup_for, split_cases
from headrace.core.clock import SystemClock
from headrace.flink.rest import JobSummary
from headrace.guard.hawk.events import HawkEvent
from headrace.guard.lab.failover import LivingTransport, job_manager_name
from headrace.guard.lab.faults import FAULTS
from headrace.guard.lab.matrix import judge
from headrace.guard.lab.restart import RestartResult, running_jobs
from headrace.guard.lab.timeline import Timeline, find_signs
from headrace.guard.lab.workload import KEYS, Row, Workload

T0 = 1_000_000


def test_faults_of_job_managers_get_a_cluster_of_their_own() -> None:
    """Two JobManagers and an ensemble, which the other cases neither need nor pay for."""
    names = ["host_dead", "jm_host_dead", "loss_40", "zookeeper_outage"]
    assert split_cases(names) == [["host_dead", "loss_40"], ["jm_host_dead", "zookeeper_outage"]]
    assert setup_for(["jm_process_dead"], hosts=4).failover
    assert not setup_for(["host_dead"], hosts=4).failover
    assert all(fault.failover for fault in FAULTS.values() if fault.leader)


def test_a_lost_leader_passes_only_when_the_verdict_took_its_lead() -> None:
    """A standby that leads because the session has ended is Flink's doing."""
    usual = Timeline(
        case="jm_host_dead",
        host="j1",
        fault_ms=T0,
        verdict_ms=T0 + 1300,
        flowing_ms=T0 + 3000,
        restarts=1,
        verdicts=("j1",),
        signs=("leader_revoked:j1:revoked",),
    )
    assert judge(usual).problems == ()
    for signs in ((), ("leader_revoked:j2:revoked",), ("leader_revoked:j1:other",)):
        told = msgspec.structs.replace(usual, signs=signs)
        assert judge(told).problems == ("not told: leader_revoked:j1:revoked",)
    event = HawkEvent(T0, "leader_revoked", "j1", outcome="revoked", names=("jobmanager-1",))
    assert find_signs([event]) == usual.signs


def test_an_outage_of_zookeeper_convicts_nobody() -> None:
    """And the job flows again afterwards."""
    usual = Timeline(case="zookeeper_outage", host="h1", fault_ms=T0, flowing_ms=T0 + 15_000)
    assert judge(usual).problems == ()
    wrong = msgspec.structs.replace(usual, verdicts=("j1",), flowing_ms=None)
    assert judge(wrong).problems == ("false verdict on j1", "output did not flow again")


def test_what_old_tasks_give_out_after_their_job_managers_end_is_no_recovery() -> None:
    """They go on until they hear of it; only output since the new leader's tasks run counts."""
    workload = Workload("127.0.0.1:1", rate_per_s=100, clock=SystemClock())
    workload._arrivals = [(T0 + 50 + key, T0 + 10, key) for key in range(KEYS)]
    assert workload.flowing_at_ms(T0) == T0 + 50 + KEYS - 1
    assert workload.flowing_at_ms(T0, arrived_from_ms=T0 + 2000) is None
    workload._arrivals += [(T0 + 2100 + key, T0 + 1000, key) for key in range(KEYS)]
    assert workload.flowing_at_ms(T0, arrived_from_ms=T0 + 2000) == T0 + 2100 + KEYS - 1


def test_a_gap_counts_when_its_rows_are_kept_no_more() -> None:
    """Rows are kept for some minutes, a soak lasts for half an hour; a gap from before the fault does not count."""
    workload = Workload("127.0.0.1:1", rate_per_s=1, clock=SystemClock())

    def arrive(at_s: int) -> None:
        workload._arrived(Row(id=at_s, k=0, n=1, at_ms=T0 + 1000 * at_s), T0 + 1000 * at_s)

    for second in (*range(50), *range(80, 100)):
        arrive(second)
    workload.watch_gaps(T0 + 99_500)
    for second in (*range(100, 150), *range(157, 3000)):
        arrive(second)
    assert len(workload._arrivals) < 300
    assert workload.longest_gap_ms(T0 + 99_500) == 8000
    workload.watch_gaps(T0 + 2_999_500)
    arrive(3002)
    assert workload.longest_gap_ms(T0 + 2_999_500) == 2500


def test_requests_go_to_the_job_manager_that_lives_when_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever address the client was made with."""
    living, asked = ["10.0.0.1"], []

    def answer(_: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={})

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
    with httpx.Client(base_url="http://10.0.0.1:8081", transport=LivingTransport(lambda: living[-1])) as client:
        client.get("/overview")
        living.append("10.0.0.2")
        client.get("/overview")
    assert asked == ["http://10.0.0.1:8081/overview", "http://10.0.0.2:8081/overview"]
    assert job_manager_name("j2") == "jobmanager-2"


def summary(name: str, state: str = "RUNNING", **tasks: int) -> JobSummary:
    """A job as Flink lists it."""
    return JobSummary("id", name, state, 0, -1, 0, tasks)


def test_a_job_runs_when_all_of_its_tasks_do() -> None:
    """One that still deploys, restarts or has ended does not."""
    jobs = [
        summary("runs", total=2, running=2),
        summary("deploys", total=2, running=1),
        summary("restarts", "RESTARTING", total=2, running=2),
        summary("empty"),
    ]
    assert running_jobs(jobs) == {"runs"}


def test_a_restart_passes_when_the_job_manager_and_all_jobs_are_back() -> None:
    """Its timeline says the same, for the console."""
    whole = RestartResult(fault_ms=T0, back_s=1.0, jobs_s={"a": 2.5, "b": 2.0})
    assert (whole.passed, whole.timeline().problem) == (True, "")
    assert (whole.timeline().restarting_ms, whole.timeline().running_ms) == (T0 + 1000, T0 + 2500)
    for broken, problem in (
        (RestartResult(fault_ms=T0, back_s=None, jobs_s={}), "the JobManager did not come back"),
        (RestartResult(fault_ms=T0, back_s=1.0, jobs_s={"a": None}), "not all jobs run again"),
    ):
        assert (broken.passed, broken.timeline().problem, broken.timeline().running_ms) == (False, problem, None)
