"""A host that is retired: it gets no new work, though it lives and has slots, until it is re-admitted."""

from __future__ import annotations

import os
import signal

from headrace.core.errors import Conflict
from headrace.flink.driver_client import DriverClient
from headrace.flink.protocol import ListTaskManagers, TaskManagerRow
from headrace.guard.hawk.retirement import Record, retire
from headrace.guard.hawk.roster import changing
from headrace.guard.lab.cluster import LabCluster, task_manager
from headrace.guard.lab.fault import Fault, pair

TOLD_S = 20.0  # the file is read every second, and Flink told within one more; on two busy cores
BACK_S = 120.0  # Flink forgets a block that is not renewed after 90 s


def readmit(lab: LabCluster, host: str) -> None:
    """As `headrace hawk readmit`; no harm when the host is not retired."""
    with changing(lab.hosts_file) as records:
        records.pop(host, None)


def _retire_and_kill(lab: LabCluster, victim: str) -> None:
    """As `headrace hawk retire` with the host after the victim; when Flink knows of it, the victim's end makes the job look for slots."""
    host = pair(lab.hosts, victim)[1]
    with changing(lab.hosts_file) as records:
        records[host] = retire(records.get(host, Record()), "failure lab", "by hand", lab.now_ms())
    lab.wait_for(lambda: _is_blocked(lab, host), f"Flink to block {host}", timeout_s=TOLD_S)
    os.kill(lab.task_manager_pid(victim), signal.SIGKILL)


def _check_and_readmit(lab: LabCluster, victim: str) -> None:
    """The job runs again, and the retired host, which lives and had slots for it, has no part of it.

    Raises:
        Conflict: it has.
    """
    host = pair(lab.hosts, victim)[1]
    row = _row(lab, host)
    readmit(lab, host)
    if row is None or not row.blocked or row.free_slots < row.slots:
        raise Conflict("a retired host got work, or was lost", context={"host": host, "row": row})
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
        "another host is retired by hand, then the TaskManager is killed: the job restarts on hosts that are not retired",
        signs=("host_retired",),
    ),
)
