"""The faults of the lab by name; those of one host's processes and network are here, the others in modules of their own."""

from __future__ import annotations

import contextlib
import os
import signal

from headrace.guard.lab import delay
from headrace.guard.lab.clocks import CLOCK_FAULTS
from headrace.guard.lab.cluster import WITNESSES, LabCluster
from headrace.guard.lab.disk_faults import DISK_FAULTS
from headrace.guard.lab.failover_faults import FAILOVER_FAULTS
from headrace.guard.lab.fault import Act, Fault
from headrace.guard.lab.load import LOAD_FAULTS
from headrace.guard.lab.retire import RETIRE_FAULTS
from headrace.guard.lab.starve import STARVE_FAULTS
from headrace.guard.lab.steps import STEP_FAULTS
from headrace.guard.lab.stuck import STUCK_FAULTS

LATENCY_MS, JITTER_MS = 200.0, 100.0  # of a round trip


def _kill_process(lab: LabCluster, host: str) -> None:
    os.kill(lab.task_manager_pid(host), signal.SIGKILL)


def _freeze_process(lab: LabCluster, host: str) -> None:
    os.kill(lab.task_manager_pid(host), signal.SIGSTOP)


def _stop_agent(lab: LabCluster, host: str) -> None:
    for pid in lab.agent_pids(host):
        os.kill(pid, signal.SIGSTOP)


def _continue(lab: LabCluster, host: str) -> None:
    lab.network.signal(host, signal.SIGCONT)


def _nothing(_: LabCluster, __: str) -> None:
    """The keeper has started it again by itself."""


def _thaw(lab: LabCluster, host: str) -> None:
    with contextlib.suppress(OSError):
        _continue(lab, host)


def _loss(share: float) -> Act:
    return lambda lab, host: lab.network.drop(host, share)


def _cut_observer(lab: LabCluster, host: str) -> None:
    lab.network.drop(host, 1, peer=lab.network.address("w2"))


def _deaf(lab: LabCluster, host: str) -> None:
    lab.network.drop(host, 1, chains=("INPUT",))


def _stop_observers(lab: LabCluster, _: str) -> None:
    for witness in WITNESSES:
        lab.network.signal(witness, signal.SIGSTOP)


def _continue_observers(lab: LabCluster, _: str) -> None:
    for witness in WITNESSES:
        lab.network.signal(witness, signal.SIGCONT)


def _narrow(lab: LabCluster, host: str) -> None:
    lab.network.limit(host, kbit_per_s=1000)


def _widen(lab: LabCluster, host: str) -> None:
    lab.network.unlimit(host)


def _undrop(lab: LabCluster, host: str) -> None:
    lab.network.undrop(host)


HOST_FAULTS = (
    Fault(
        "host_dead",
        True,
        lambda lab, host: lab.kill_host(host),
        lambda lab, host: lab.revive_host(host),
        "the host vanishes: link down, all processes killed",
        plan="F1",
    ),
    Fault("process_dead", True, _kill_process, _nothing, "SIGKILL to the TaskManager", plan="F2"),
    Fault(
        "frozen",
        True,
        lambda lab, host: lab.freeze_host(host),
        _thaw,
        "SIGSTOP to all processes of the host; its kernel answers",
        plan="F3",
    ),
    Fault("process_frozen", True, _freeze_process, _nothing, "SIGSTOP to the TaskManager alone", plan="F3"),
    Fault(
        "cut",
        True,
        lambda lab, host: lab.network.drop(host, 1),
        _undrop,
        "no packet to or from the host; its processes live",
    ),
    Fault(
        "one_way",
        True,
        _deaf,
        _undrop,
        "packets from the host arrive, packets to it do not",
        plan="F6",
    ),
    Fault("agent_stopped", False, _stop_agent, _continue, "SIGSTOP to the agent for 4 s", 4.0),
    Fault("loss_40", False, _loss(0.4), _undrop, "40 % of the packets lost each way", 20.0, plan="F7"),
    Fault("loss_60", False, _loss(0.6), _undrop, "60 % of the packets lost each way", 12.0, plan="F7"),
    Fault("bandwidth_1_mbit", False, _narrow, _widen, "the host's way out carries 1 Mbit/s", 10.0, plan="F9"),
    Fault(
        "latency_200_ms",
        False,
        lambda lab, host: lab.network.delay(host, LATENCY_MS / 2, JITTER_MS / 2),
        lambda lab, host: lab.network.undelay(host),
        "packets wait 100 ms, give or take 50, each way",
        15.0,
        missing=delay.missing,
        plan="F8",
    ),
    Fault(
        "observers_stopped",
        False,
        _stop_observers,
        _continue_observers,
        "SIGSTOP to two of the three observers for 5 s",
        5.0,
    ),
    Fault("one_observer_cut", False, _cut_observer, _undrop, "the host cannot reach one observer for 5 s", 5.0),
    Fault("outage_500_ms", False, _loss(1), _undrop, "no packet for 0.5 s", 0.5),
)
FAULTS = {
    fault.name: fault
    for fault in (
        *HOST_FAULTS,
        *STEP_FAULTS,
        *STUCK_FAULTS,
        *RETIRE_FAULTS,
        *LOAD_FAULTS,
        *STARVE_FAULTS,
        *DISK_FAULTS,
        *CLOCK_FAULTS,
        *FAILOVER_FAULTS,
    )
}
