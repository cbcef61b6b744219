"""The contract with Flink that Hawk lives on; each minor version has to pass it. Internal classes are used, so nothing else warns us."""

from __future__ import annotations

import os
import selectors
import signal
from collections.abc import Iterator

import psutil
import pytest
from tests.cluster.running import RunningStack
from tests.waiting import wait_until

from headrace.core.errors import Unavailable
from headrace.flink.driver_client import DriverClient
from headrace.flink.protocol import BlockNodes, Disconnect, ListTaskManagers, NodeBlock, TaskManagerRow
from headrace.guard.hawk.probes import Prober

pytestmark = pytest.mark.cluster
CAUSE = "Hawk: contract test"
NO_LEADER = "0" * 8


@pytest.fixture
def driver(stack: RunningStack) -> Iterator[DriverClient]:
    """A client of the stack's driver; all TaskManagers are registered before and after the test."""
    stack.wait_ready("driver", "jobmanager", "taskmanager-1", "taskmanager-2")
    with DriverClient(stack.endpoints.driver) as client:
        wait_until(lambda: registered(client) == 2, timeout_s=120, what="both TaskManagers")
        yield client
        wait_until(lambda: registered(client) == 2, timeout_s=120, what="both TaskManagers again")


def rows(client: DriverClient) -> dict[str, TaskManagerRow]:
    """TaskManagers as the ResourceManager knows them."""
    return {row.id: row for row in client.list_task_managers(ListTaskManagers()).rows}


def registered(client: DriverClient) -> int:
    """How many TaskManagers there are; none while nobody answers."""
    try:
        return len(rows(client))
    except Unavailable:
        return 0


def test_task_managers_are_listed_with_heartbeats_that_advance(driver: DriverClient) -> None:
    """Names are the resource ids that the stack gives; the time of the last heartbeat moves while it lives."""
    first = rows(driver)
    assert set(first) == {"taskmanager-1", "taskmanager-2"}
    assert all(row.slots == 8 and row.node == "127.0.0.1" and not row.blocked for row in first.values())
    wait_until(
        lambda: all(row.last_heartbeat_ms > first[name].last_heartbeat_ms for name, row in rows(driver).items()),
        timeout_s=10,
        what="heartbeats",
    )


def test_a_running_task_manager_closes_what_we_close(stack: RunningStack, driver: DriverClient) -> None:
    """Its port of data tells a running process from a frozen one, whose kernel accepts connections that nobody ever closes."""
    port = rows(driver)["taskmanager-1"].data_port
    assert port > 0
    selector, answered = selectors.DefaultSelector(), list[str]()
    prober = Prober(selector, answered.append, port=port, process_answered=answered.append)

    def wait_answered(name: str, *, timeout_s: float) -> None:
        prober.ask(name, "127.0.0.1", port, 0)

        def is_answered() -> bool:
            for key, _ in selector.select(0):
                key.data(key.fileobj)
            return name in answered

        wait_until(is_answered, timeout_s=timeout_s, what=f"an answer that it {name}", every_s=0.02)

    wait_answered("runs", timeout_s=10)
    pid = stack.process("taskmanager-1").pid
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(
            lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, timeout_s=1, what="that it stands still"
        )
        # Half a second is less than after which the stack's own hawk kills it.
        with pytest.raises(AssertionError, match="an answer that it is frozen"):
            wait_answered("is frozen", timeout_s=0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_answered("runs again", timeout_s=10)
    prober.close()


def test_a_verdict_removes_a_task_manager_at_once(driver: DriverClient) -> None:
    """When the call returns it is gone from the ResourceManager; being alive, it registers again by itself."""
    told = driver.disconnect(Disconnect(ids=("taskmanager-2",), cause=CAUSE))
    assert (told.gone, told.unknown) == (("taskmanager-2",), ())
    assert "taskmanager-2" not in rows(driver) or rows(driver)["taskmanager-2"].free_slots == 8


def test_a_verdict_on_an_unknown_task_manager_harms_nobody(driver: DriverClient) -> None:
    """Told as unknown, no error, the others stay."""
    told = driver.disconnect(Disconnect(ids=("no-such-taskmanager",), cause=CAUSE))
    assert (told.gone, told.unknown) == ((), ("no-such-taskmanager",))
    assert len(rows(driver)) == 2


def test_blocks_are_taken_and_end(driver: DriverClient) -> None:
    """A node on the blocklist is shown as blocked until its time is over."""
    until_ms = max(row.last_heartbeat_ms for row in rows(driver).values()) + 6000
    block = NodeBlock(node="127.0.0.1", cause=CAUSE, until_ms=until_ms)
    assert driver.block_nodes(BlockNodes(blocks=(block,))).count == 1
    wait_until(lambda: all(row.blocked for row in rows(driver).values()), timeout_s=10, what="blocked")
    wait_until(lambda: not any(row.blocked for row in rows(driver).values()), timeout_s=60, what="free again")


def test_the_local_stack_tells_flink_of_a_lost_task_manager(stack: RunningStack, driver: DriverClient) -> None:
    """The stack's own hawk sees the end of the process and tells it, long before Flink's heartbeats would."""
    log = stack.home.logs / "hawk.log"

    def told() -> int:
        return log.read_text().count("verdict_told")

    stack.wait_ready("hawk")
    before = told()
    stack.kill("taskmanager-2")
    wait_until(lambda: told() > before, timeout_s=10, what="the verdict")
    stack.wait_ready("taskmanager-2")


def test_a_job_manager_that_is_away_is_said_so_and_found_again(stack: RunningStack, driver: DriverClient) -> None:
    """While it restarts the call fails as unavailable and in time; afterwards the same link works with the new leader."""

    def refused() -> bool:
        # A JobManager may be back before a call's second try: it is killed again, and stays away longer each time.
        if stack.process("jobmanager").state == "ready":
            stack.kill("jobmanager")
        try:
            rows(driver)
        except Unavailable:
            return True
        return False

    wait_until(refused, timeout_s=120, what="an error", every_s=0.01)
    stack.wait_ready("jobmanager", timeout_s=180)
    wait_until(lambda: registered(driver) == 2, timeout_s=120, what="both TaskManagers at the new leader")
    assert driver.list_task_managers(ListTaskManagers()).leader.startswith(NO_LEADER)
