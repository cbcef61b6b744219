"""Faults of the JobManagers and of ZooKeeper, in a lab with `failover`."""

from __future__ import annotations

import contextlib
import os
import signal
from functools import partial

from headrace.guard.lab.cluster import MACHINE, WITNESSES, LabCluster
from headrace.guard.lab.fault import Fault

OUTAGE_S = 10.0
PEER_PATIENCE_S = 60.0  # a killed one is started again after the lab's REFILL_AFTER_MS
REJOIN_S = 8.0  # its JVM starts and it catches up in 2 s on an idle machine
REVOKED = ("leader_revoked:{host}:revoked",)  # by the verdict, and not by the end of its session


def _kill_job_manager(lab: LabCluster, host: str) -> None:
    os.kill(lab.flink_pid(host), signal.SIGKILL)


def _nothing(_: LabCluster, __: str) -> None:
    """The keeper has started it again."""


def _lose_quorum(lab: LabCluster, host: str) -> None:
    """Two of three peers die; their keepers stand still meanwhile, so that none is started again."""
    for witness in WITNESSES:
        os.kill(lab.keeper_pid(witness), signal.SIGSTOP)
        with contextlib.suppress(ProcessLookupError):
            os.kill(lab.process_pid(witness, f"zookeeper-{witness[1:]}"), signal.SIGKILL)
    lab.pause(OUTAGE_S)
    _restore_quorum(lab, host)


def _restore_quorum(lab: LabCluster, _: str) -> None:
    for witness in WITNESSES:
        os.kill(lab.keeper_pid(witness), signal.SIGCONT)


def _restart_peers(lab: LabCluster, _: str) -> None:
    """One after the other; the next when the ensemble is whole again. Each is the one that some client was connected to."""
    for number, host in enumerate((MACHINE, *WITNESSES), 1):
        name = f"zookeeper-{number}"
        old = lab.process_pid(host, name)
        os.kill(old, signal.SIGKILL)
        lab.wait_for(partial(_is_new, lab, host, name, old), name, timeout_s=PEER_PATIENCE_S)
        lab.pause(REJOIN_S)


def _is_new(lab: LabCluster, host: str, name: str, old: int) -> bool:
    return lab.process_pid(host, name) not in (0, old)


FAILOVER_FAULTS = (
    Fault(
        "jm_host_dead",
        True,
        lambda lab, host: lab.kill_host(host),
        lambda lab, host: lab.revive_host(host),
        "the host of the leading JobManager vanishes: link down, all processes killed",
        signs=REVOKED,
        failover=True,
        leader=True,
        plan="F12",
    ),
    Fault(
        "jm_process_dead",
        True,
        _kill_job_manager,
        _nothing,
        "SIGKILL to the leading JobManager",
        signs=REVOKED,
        failover=True,
        leader=True,
        plan="F12",
    ),
    Fault(
        "zookeeper_outage",
        False,
        _lose_quorum,
        _restore_quorum,
        "two of three ZooKeeper peers are dead for 10 s and more: no quorum",
        0.0,
        failover=True,
        recovers=True,
        plan="F13",
    ),
    Fault(
        "zookeeper_restarts",
        False,
        _restart_peers,
        _nothing,
        "one ZooKeeper peer after the other is killed; there is always a quorum",
        0.0,
        failover=True,
        plan="F13",
    ),
)
