"""Faults of the processor: an agent, or a TaskManager, that hardly runs (F10)."""

from __future__ import annotations

import contextlib
import os

from headrace.guard.lab import groups
from headrace.guard.lab.cluster import LabCluster
from headrace.guard.lab.fault import Fault

AGENT_SHARE = 0.001
# An agent needs 0.5 % of a core. Below that, without priority, it cannot renew its lease in time and stops its TaskManagers, as it must.
PLAIN_AGENT_SHARE = 0.02
TASK_MANAGER_SHARE = 0.05
HOLD_S = 12.0


def _group(lab: LabCluster, host: str) -> groups.Group:
    return groups.Group("cpu", f"lab-{os.getpid()}-{host}")


def _starve(lab: LabCluster, host: str, pids: list[int], share: float) -> None:
    group = _group(lab, host)
    group.open()
    group.limit_cpu(share)
    group.allow_realtime()
    for pid in pids:
        group.add(pid)


def _starve_agent(lab: LabCluster, host: str) -> None:
    """As it is shipped: with the priority that it has given itself, where it may."""
    _starve(lab, host, lab.agent_pids(host), AGENT_SHARE)


def _starve_plain_agent(lab: LabCluster, host: str) -> None:
    """As on a host that does not let it raise its priority: then a quota binds it."""
    pids = lab.agent_pids(host)
    for pid in pids:
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
    _starve(lab, host, pids, PLAIN_AGENT_SHARE)


def _feed_plain_agent(lab: LabCluster, host: str) -> None:
    _feed(lab, host)
    for pid in lab.agent_pids(host):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))


def _starve_task_manager(lab: LabCluster, host: str) -> None:
    _starve(lab, host, [lab.task_manager_pid(host)], TASK_MANAGER_SHARE)


def _feed(lab: LabCluster, host: str) -> None:
    _group(lab, host).close()


STARVE_FAULTS = (
    Fault(
        "agent_starved",
        False,
        _starve_agent,
        _feed,
        "the agent's quota is 0.1 % of a core, against which it has raised its priority",
        HOLD_S,
        missing=lambda: groups.missing("cpu"),
        plan="F10",
    ),
    Fault(
        "plain_agent_starved",
        False,
        _starve_plain_agent,
        _feed_plain_agent,
        "the agent's priority is not raised, and its quota is 2 % of a core",
        HOLD_S,
        missing=lambda: groups.missing("cpu"),
        plan="F10",
    ),
    Fault(
        "task_manager_starved",
        False,
        _starve_task_manager,
        _feed,
        "the TaskManager gets 5 % of a core",
        HOLD_S,
        missing=lambda: groups.missing("cpu"),
        plan="F10",
    ),
)
