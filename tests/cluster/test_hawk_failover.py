"""The contract with Flink and ZooKeeper that Hawk's leader verdict lives on: real ensemble, two real JobManagers, the driver. Rootless.

A session lasts ten minutes here, so whoever leads after a death leads because of the verdict and not of a time-out.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from tests.waiting import wait_until

from headrace.core.errors import HeadraceError, Unavailable
from headrace.core.home import Home
from headrace.flink.driver_client import DriverClient
from headrace.flink.profile import cluster_settings
from headrace.flink.protocol import Disconnect, ListTaskManagers, Revocation, RevokeLeader
from headrace.guard.lab.failover import high_availability, job_manager, zookeeper
from headrace.stack import flinkhome
from headrace.stack.assets import find_assets
from headrace.stack.context import StackContext
from headrace.stack.jdk import choose_jdk, system_jdks
from headrace.stack.logs import tail
from headrace.stack.options import StackOptions
from headrace.stack.ports import HOST, load_or_plan_ports
from headrace.stack.specs import ProcessSpec, build_specs

pytestmark = pytest.mark.cluster
ADDRESSES = {1: "127.0.0.2", 2: "127.0.0.3"}  # two hosts, as far as an address goes
NOBODY = "127.0.0.4"
SESSION = {"high-availability.zookeeper.client.session-timeout": "10 min"}
LONG_SESSIONS = "maxSessionTimeout=600000"
PATIENCE_S = 120.0
DIAGNOSIS_LINES = 4


class Pair:
    """Two JobManagers, the ensemble between them, and a driver."""

    def __init__(self, home: Home) -> None:
        self.home = home
        for folder in (home.run, home.logs, home.data, home.tmp):
            folder.mkdir(parents=True, exist_ok=True)
        peers = {1: HOST}
        ports = load_or_plan_ports(home.data / "ports.json", home.root, base=0)
        client_port = ports["kafka"]  # there is no Kafka here
        self.context = StackContext(
            home=home,
            assets=find_assets(),
            jdk=choose_jdk("", env=os.environ, installed=system_jdks()),
            ports=ports,
            options=StackOptions(),
            flink_settings=cluster_settings(home) | high_availability(home, peers, client_port=client_port) | SESSION,
        )
        flinkhome.write_flink_home(self.context)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.start(zookeeper(self.context, 1, peers, client_port=client_port, more=LONG_SESSIONS))
        for number in ADDRESSES:
            self.start_job_manager(number)
        self.start(*build_specs(self.context, ["driver"]))
        self.driver = DriverClient(home.driver_socket)
        wait_until(home.driver_socket.exists, timeout_s=PATIENCE_S, what="the driver")

    def start(self, spec: ProcessSpec) -> None:
        """Start a process in a session of its own."""
        with (self.home.logs / f"{spec.name}.log").open("ab") as log:
            self.processes[spec.name] = subprocess.Popen(
                spec.argv, env={**os.environ, **spec.env}, cwd=spec.cwd, stdout=log, stderr=log, start_new_session=True
            )

    def start_job_manager(self, number: int) -> None:
        """Start a JobManager; it leads or stands by."""
        self.start(job_manager(self.context, f"jobmanager-{number}", ADDRESSES[number]))

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a signal to a JobManager."""
        process = self.processes[f"jobmanager-{number}"]
        process.send_signal(what)
        if what is signal.SIGKILL:
            process.wait()

    def leader(self) -> str:
        """The fencing token of whoever answers; empty while nobody does."""
        try:
            return self.driver.list_task_managers(ListTaskManagers()).leader
        except Unavailable:
            return ""

    def leading(self) -> int:
        """The number of the JobManager that leads, by a question that changes nothing."""
        told = self.driver.revoke_leader(RevokeLeader(hosts=(NOBODY,), cause="who leads?"))
        assert told.outcome in (Revocation.OTHER, Revocation.NO_LEADER)
        return next((number for number, address in ADDRESSES.items() if f"@{address}:" in told.leader), 0)

    def diagnosis(self) -> str:
        """Of each process whether it lives, and the end of its log."""
        return "\n".join(
            f"{name}: {process.poll()}: {' | '.join(tail(self.home.logs / f'{name}.log', DIAGNOSIS_LINES))}"
            for name, process in self.processes.items()
        )

    def close(self) -> None:
        """End everything."""
        self.driver.close()
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A pair with a leader that answers."""
    pair = Pair(Home(tmp_path_factory.mktemp("ha")))
    try:
        try:
            wait_until(pair.leader, timeout_s=PATIENCE_S, what="a leader")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{pair.diagnosis()}") from None
        yield pair
    finally:
        pair.close()


def test_the_dead_leader_is_followed_at_once_and_a_living_one_is_left_alone(pair: Pair) -> None:
    """One story, since starting costs most: refused while it lives, done when it is dead, never done twice, never to its successor."""
    first = pair.leading()
    token, second = pair.leader(), 3 - first
    assert first, "nobody has published an address"
    assert token.count("-") == 4, "a real fencing token"
    assert set(token) - set("0-"), "a real fencing token"

    # It lives, so nothing happens, whoever says what.
    with pytest.raises(Unavailable, match="the convicted leader still answers"):
        pair.driver.revoke_leader(RevokeLeader(hosts=(ADDRESSES[first],), cause="a false verdict"))
    # A standby's death is none of the leader's business.
    assert pair.driver.revoke_leader(RevokeLeader(hosts=(ADDRESSES[second],), cause="x")).outcome is Revocation.OTHER
    assert pair.leader() == token

    pair.signal(first, signal.SIGKILL)
    with pytest.raises(HeadraceError):
        pair.driver.disconnect(Disconnect(ids=("taskmanager-1",), cause="nobody leads"))
    told = pair.driver.revoke_leader(RevokeLeader(hosts=("h1", ADDRESSES[first]), cause="Hawk: host_lost"))
    assert (told.outcome, len(told.nodes)) == (Revocation.REVOKED, 1)
    wait_until(lambda: pair.leader() not in ("", token), timeout_s=PATIENCE_S, what="the standby")
    assert pair.leading() == second

    # Told again, by another observer or late: the successor is not touched, and neither is the old one's own successor.
    again = RevokeLeader(hosts=(ADDRESSES[first],), cause="told twice")
    assert pair.driver.revoke_leader(again).outcome is Revocation.OTHER
    pair.start_job_manager(first)
    wait_until(lambda: pair.driver.revoke_leader(again).outcome is Revocation.OTHER, timeout_s=PATIENCE_S, what="peace")

    # A leader that stands still does not answer: it loses the lead, and there is one leader when its agent has killed it.
    token = pair.leader()
    pair.signal(second, signal.SIGSTOP)
    frozen = RevokeLeader(hosts=(ADDRESSES[second],), cause="Hawk: host_frozen")
    assert pair.driver.revoke_leader(frozen).outcome is Revocation.REVOKED
    wait_until(lambda: pair.leader() not in ("", token), timeout_s=PATIENCE_S, what="the restarted one")
    # Were it let go on, both would lead, and publish over one another (docs/decisions/hawk.md): so its agent kills it.
    pair.signal(second, signal.SIGCONT)
    pair.signal(second, signal.SIGKILL)
    wait_until(lambda: pair.leading() == first, timeout_s=PATIENCE_S, what="one leader")
    assert pair.driver.revoke_leader(frozen).outcome is Revocation.OTHER
