"""Hosts of a real cluster vanish and freeze: found, fenced, recovered, with balanced books. Needs root for namespaces."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from headrace.core.clock import SystemClock
from headrace.core.errors import Unsupported
from headrace.core.home import Home
from headrace.core.rand import seeded
from headrace.guard.lab import network
from headrace.guard.lab.cluster import LabCluster, LabSetup
from headrace.guard.lab.experiment import Experiment, Plan
from headrace.guard.lab.faults import FAULTS
from headrace.guard.lab.matrix import judge_all

SEED = 20_261_125
CASES = ("host_dead", "agent_stopped", "cut", "loss_40", "all_hosts_cut", "kafka_unreachable", "retired_host")


@pytest.fixture(autouse=True)
def _possible() -> None:
    """Skips where there can be no namespaces."""
    try:
        network.check()
    except Unsupported as error:
        pytest.skip(str(error).splitlines()[0])


@pytest.mark.root
@pytest.mark.timeout(900)
def test_lost_hosts_are_replaced_and_noise_is_not_believed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Exactly the lost hosts are convicted, the job restarts once for each, nothing is lost, doubled or miscounted."""
    folder: Path = tmp_path_factory.mktemp("lab")
    print(f"seed {SEED}, {os.cpu_count()} CPUs")
    clock, timelines = SystemClock(), []
    with LabCluster(Home(folder), LabSetup(), clock=clock) as lab:
        plan = Plan(cases=CASES)
        outcome = Experiment(lab, plan, clock=clock, random=seeded(SEED), report=timelines.append).run()
    report = judge_all([outcome])
    problems = [
        f"{each.case} on {each.host}: {problem}, {each.spans}"
        for each in report.judgements
        for problem in each.problems
    ]
    assert (problems, report.books_problems) == ([], ())
    assert report.passed
    # Not how long it took, which bench/recovery.py measures, but who was first: the job restarts because of the verdict, not of Flink's own time-outs.
    lost = [timeline for timeline in timelines if FAULTS[timeline.case].lost]
    assert lost
    assert all((each.verdict_ms or math.inf) <= (each.restarting_ms or 0) for each in lost)
