"""Hosts of a real cluster vanish and freeze: found, fenced, recovered, with balanced books. Needs root for namespaces."""

from __future__ import annotations

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
from headrace.guard.lab.matrix import judge_all

SEED = 20_261_125
CASES = ("host_dead", "agent_stopped", "cut", "loss_40")
DETECT_S_MAX = 5.0  # of a machine under load; what is promised is measured by bench/recovery.py


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
    assert report.passed, report
    assert all(timeline.spans().get("detect_s", 0) <= DETECT_S_MAX for timeline in timelines)
