"""The faults of the lab, by table: what is done to a host, how it is undone, and what Hawk must make of it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import NamedTuple

from headrace.guard.lab.cluster import WITNESSES, LabCluster

Act = Callable[[LabCluster, str], None]


class Fault(NamedTuple):
    """A fault of one host.

    `lost` says that its TaskManager has to be convicted; otherwise a verdict is a false one. `hold_s` is how long the fault
    lasts when nobody has to be convicted.
    """

    name: str
    lost: bool
    inject: Act
    undo: Act
    what: str
    hold_s: float = 10.0


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


FAULTS = {
    fault.name: fault
    for fault in (
        Fault(
            "host_dead",
            True,
            lambda lab, host: lab.kill_host(host),
            lambda lab, host: lab.revive_host(host),
            "the host vanishes: link down, all processes killed",
        ),
        Fault("process_dead", True, _kill_process, _nothing, "SIGKILL to the TaskManager"),
        Fault(
            "frozen",
            True,
            lambda lab, host: lab.freeze_host(host),
            _thaw,
            "SIGSTOP to all processes of the host; its kernel answers",
        ),
        Fault("process_frozen", True, _freeze_process, _nothing, "SIGSTOP to the TaskManager alone"),
        Fault(
            "cut",
            True,
            lambda lab, host: lab.network.drop(host, 1),
            _undrop,
            "no packet to or from the host; its processes live",
        ),
        Fault("one_way", True, _deaf, _undrop, "packets from the host arrive, packets to it do not"),
        Fault("agent_stopped", False, _stop_agent, _continue, "SIGSTOP to the agent for 4 s", 4.0),
        Fault("loss_40", False, _loss(0.4), _undrop, "40 % of the packets lost each way", 20.0),
        Fault("loss_60", False, _loss(0.6), _undrop, "60 % of the packets lost each way", 12.0),
        Fault("bandwidth_1_mbit", False, _narrow, _widen, "the host's way out carries 1 Mbit/s", 10.0),
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
}
