"""Faults of several hosts, or in several steps: one after the other, many at once, parts of the network, observers, a wrong verdict."""

from __future__ import annotations

import contextlib
import os
import signal

from headrace.flink.driver_client import DriverClient
from headrace.flink.protocol import Disconnect
from headrace.guard.lab.cluster import KAFKA, WITNESSES, LabCluster, task_manager
from headrace.guard.lab.fault import Fault, everyone, pair
from headrace.guard.lab.retire import readmit
from headrace.guard.lab.timeline import read_events

FLAP_S, FLAPS = 2.5, 24  # cut and whole in turn, two minutes of it
FLAP_RESTARTS_MAX = 2
MASS_S = 3.0
VERDICT_PATIENCE_S = 30.0
DEAF_S = 10.0
HOLE_S = 25.0  # Kafka's clients give up a request after 30 s
AWAY_S = 150.0  # and by default a transaction after 60 s, a record after 120 s
HEARTBEATS_S = 30.0  # the profile's heartbeat.timeout is 20 s, and the job restarts after it


def _double(lab: LabCluster, host: str) -> None:
    """The second host dies when the first has just been convicted: its tasks are being deployed, on the second, too."""
    begun = lab.events().stat().st_size
    lab.kill_host(host)
    lab.wait_for(
        lambda: any(each.event == "verdict" for each in read_events(lab.events(), offset=begun)),
        "the first verdict",
        timeout_s=VERDICT_PATIENCE_S,
    )
    lab.kill_host(pair(lab.hosts, host)[1])


def _revive_pair(lab: LabCluster, host: str) -> None:
    for each in pair(lab.hosts, host):
        lab.revive_host(each)


def _flap(lab: LabCluster, host: str) -> None:
    for _ in range(FLAPS):
        lab.network.drop(host, 1)
        lab.pause(FLAP_S)
        lab.network.undrop(host)
        lab.pause(FLAP_S)


def _cut_all(lab: LabCluster, _: str) -> None:
    for host in lab.hosts:
        lab.network.drop(host, 1)


def _heal_all(lab: LabCluster, _: str) -> None:
    for host in lab.hosts:
        lab.network.undrop(host)


def _undrop(lab: LabCluster, host: str) -> None:
    lab.network.undrop(host)


def _undrop_and_readmit(lab: LabCluster, host: str) -> None:
    _undrop(lab, host)
    readmit(lab, host)


def _convict_wrongly(lab: LabCluster, host: str) -> None:
    with DriverClient(lab.home.driver_socket) as driver:
        driver.disconnect(Disconnect(ids=(task_manager(host),), cause="failure lab: a wrong verdict"))


def _nothing(_: LabCluster, __: str) -> None:
    """The TaskManager registers again by itself."""


def _part_from_job_manager(lab: LabCluster, host: str) -> None:
    """TCP with the JobManager's machine, but for Kafka; UDP, and with it the agent's heartbeats, passes."""
    lab.network.drop_tcp(host, lab.network.gateway, port=_kafka_port(lab), others=True)


def _part_from_kafka(lab: LabCluster, host: str) -> None:
    lab.network.drop_tcp(host, lab.network.gateway, port=_kafka_port(lab))


def _part_all_from_kafka(lab: LabCluster, _: str) -> None:
    for host in lab.hosts:
        _part_from_kafka(lab, host)


def _kafka_port(lab: LabCluster) -> int:
    return int(lab.kafka.rpartition(":")[2])


def _part_from_task_managers(lab: LabCluster, host: str) -> None:
    for other in lab.hosts:
        if other != host:
            lab.network.drop(host, 1, peer=lab.network.address(other))


def _lose_observer(lab: LabCluster, host: str) -> None:
    """Two observers are left, and they are enough."""
    lab.kill_host(WITNESSES[-1])
    lab.kill_host(host)


def _revive_with_observer(lab: LabCluster, host: str) -> None:
    lab.revive_host(WITNESSES[-1])
    lab.revive_host(host)


def _kill_observers(lab: LabCluster, _: str) -> None:
    """Their keepers stand still, so that they stay dead."""
    for witness in WITNESSES:
        keeper = lab.keeper_pid(witness)
        os.kill(keeper, signal.SIGSTOP)
        for pid in lab.network.pids(witness):
            if pid != keeper:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _restart_observers(lab: LabCluster, _: str) -> None:
    for witness in WITNESSES:
        os.kill(lab.keeper_pid(witness), signal.SIGCONT)


def _cut_witnesses(lab: LabCluster, _: str) -> None:
    for witness in WITNESSES:
        lab.network.drop(witness, 1)


def _heal_witnesses(lab: LabCluster, _: str) -> None:
    for witness in WITNESSES:
        lab.network.undrop(witness)


STEP_FAULTS = (
    Fault(
        "jobmanager_unreachable",
        False,
        _part_from_job_manager,
        _undrop,
        "the host and the JobManager cannot reach each other, for longer than Flink's heartbeat time-out; the agent and Kafka can",
        HEARTBEATS_S,
        recovers=True,
        plan="F4",
    ),
    Fault(
        "taskmanagers_unreachable",
        False,
        _part_from_task_managers,
        _undrop,
        "the host cannot reach the other hosts for 10 s; JobManager, observers and Kafka it can",
        DEAF_S,
        plan="F5",
    ),
    Fault(
        "kafka_unreachable",
        False,
        _part_from_kafka,
        _undrop,
        "packets between the host and Kafka vanish for 10 s: sources are deaf, sinks wait",
        DEAF_S,
        signs=(f"dependency_unreachable:{{host}}:{KAFKA}",),
        plan="F19",
    ),
    Fault(
        "kafka_hole",
        False,
        _part_all_from_kafka,
        _heal_all,
        "packets between all hosts and Kafka vanish until 25 s after it is told: nothing restarts over it",
        HOLE_S,
        hits=everyone,
        signs=("dependency_down",),
        plan="F22",
    ),
    Fault(
        "kafka_away",
        False,
        _part_all_from_kafka,
        _heal_all,
        "packets between all hosts and Kafka vanish until 150 s after it is told, longer than its clients try by default: nothing restarts over it",
        AWAY_S,
        hits=everyone,
        signs=("dependency_down",),
        plan="F22",
    ),
    Fault(
        "observer_lost_too",
        True,
        _lose_observer,
        _revive_with_observer,
        "an observer's host vanishes, then a TaskManager's",
        plan="F14",
    ),
    Fault(
        "observers_killed",
        False,
        _kill_observers,
        _restart_observers,
        "two of three observers are killed; their hosts answer",
        plan="F14",
    ),
    Fault(
        "observer_hosts_cut",
        False,
        _cut_witnesses,
        _heal_witnesses,
        "no packet to or from the hosts of two observers for 5 s: TaskManagers stop, and go on",
        5.0,
        plan="F14",
    ),
    Fault(
        "double",
        True,
        _double,
        _revive_pair,
        "a host vanishes, and during recovery from it a second one",
        hits=pair,
        restarts_max=2,
        plan="F16",
    ),
    Fault(
        "wrong_verdict",
        False,
        _convict_wrongly,
        _nothing,
        "Flink is told that a TaskManager is lost which is well",
        1.0,
        recovers=True,
        plan="F17",
    ),
    Fault(
        "all_hosts_cut",
        False,
        _cut_all,
        _heal_all,
        "no packet to or from any host for 3 s: the brake holds",
        MASS_S,
        hits=everyone,
        signs=("held",),
        plan="F18",
    ),
    Fault(
        "flapping",
        True,
        _flap,
        _undrop_and_readmit,
        "the host is cut off for 2.5 s every 5 s, for two minutes: it is retired",
        restarts_max=FLAP_RESTARTS_MAX,
        signs=("host_blocked:{host}", "host_retired:{host}"),
        fresh=True,
        plan="F21",
    ),
)
