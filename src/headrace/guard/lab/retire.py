"""A host that is retired: it gets no new work, not even when its own TaskManager comes back with free slots, until it is re-admitted."""

from __future__ import annotations

import os
import signal

from headrace.core.errors import Conflict
from headrace.flink.driver_client import DriverClient
from headrace.flink.protocol import ListTaskManagers, TaskManagerRow
from headrace.guard.hawk.retirement import Record, retire
from headrace.guard.hawk.roster import changing
from headrace.guard.lab.cluster import LabCluster, task_manager
from headrace.guard.lab.fault import Fault

TOLD_S = 20.0  # the file is read every second, and Flink told within one more; on two busy cores
BACK_S = 120.0  # a lost TaskManager is started again after 5 s


def readmit(lab: LabCluster, host: str) -> None:
    """As `headrace hawk readmit`; no harm when the host is not retired."""
    with changing(lab.hosts_file) as records:
        records.pop(host, None)


def _retire_and_kill(lab: LabCluster, host: str) -> None:
    """As `headrace hawk retire`; when Flink knows of it, its tasks have to go elsewhere."""
    with changing(lab.hosts_file) as records:
        records[host] = retire(records.get(host, Record()), "failure lab", "by hand", lab.now_ms())
    lab.wait_for(lambda: _is_blocked(lab, host), f"Flink to block {host}", timeout_s=TOLD_S)
    os.kill(lab.task_manager_pid(host), signal.SIGKILL)


def _check_and_readmit(lab: LabCluster, host: str) -> None:
    """Its TaskManager has come back, and none of its slots was given to the job.

    Raises:
        Conflict: the host got work all the same.
    """
    try:
        lab.wait_for(
            lambda: _is_blocked(lab, host), f"the TaskManager of {host} to be back, and blocked", timeout_s=BACK_S
        )
        row = _row(lab, host)
        if row is not None and row.free_slots < row.slots:
            raise Conflict(
                "a retired host got work", context={"host": host, "slots": row.slots, "free": row.free_slots}
            )
    finally:
        readmit(lab, host)
    lab.wait_for(lambda: not _is_blocked(lab, host), f"{host} to get work again", timeout_s=BACK_S)


def _row(lab: LabCluster, host: str) -> TaskManagerRow | None:
    with DriverClient(lab.home.driver_socket) as driver:
        rows = driver.list_task_managers(ListTaskManagers()).rows
    return next((row for row in rows if row.id == task_manager(host)), None)


def _is_blocked(lab: LabCluster, host: str) -> bool:
    row = _row(lab, host)
    return row is not None and row.blocked


RETIRE_FAULTS = (
    Fault(
        "retired_host",
        True,
        _retire_and_kill,
        _check_and_readmit,
        "the host is retired by hand, then its TaskManager is killed: the job goes elsewhere and stays there until the host is re-admitted",
        signs=("host_retired:{host}",),
    ),
)
