"""Probes, self-checks and the way to Flink: what answers, what is full, what is tried again."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.waiting import wait_until

from headrace.core.clock import SystemClock
from headrace.core.errors import Invalid, Unavailable
from headrace.flink.protocol import (
    BlockNodes,
    Disconnect,
    Disconnected,
    LeaderRevoked,
    ListTaskManagers,
    NodesBlocked,
    Revocation,
    RevokeLeader,
    TaskManagerRow,
    TaskManagers,
)
from headrace.guard.hawk.addresses import parse_address
from headrace.guard.hawk.local import EVENTS_FILE, LocalHawk
from headrace.guard.hawk.model import FailureClass, Verdict
from headrace.guard.hawk.observer import parse_peers
from headrace.guard.hawk.probes import PATIENCE_MS, Prober, checksum, echo_request, is_echo_reply
from headrace.guard.hawk.realize import GIVE_UP_S, KEEP_OFF_S, RENEW_S, RETRY_S, KeptOff, Order, Realizer
from headrace.guard.hawk.self_check import PROBE_FILE, SelfChecker, check_disk, memory_free_share
from headrace.guard.hawk.signs import FlinkHeard
from headrace.guard.hawk.spares import find_exposed
from headrace.stack import orphans
from headrace.testing import FakeClock

TOKEN = bytes(range(16))


def test_a_closed_port_and_an_open_one_answer() -> None:
    """Neither needs a process that reads; a probe leaves no socket behind."""
    selector, answered = selectors.DefaultSelector(), []
    with socket.socket() as closed, socket.socket() as listening:
        closed.bind(("127.0.0.1", 0))
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        for name, sock in (("closed", closed), ("listening", listening)):
            prober = Prober(selector, answered.append, port=sock.getsockname()[1])
            prober.probe(name, "127.0.0.1", 0)

            def served(name: str = name) -> bool:
                for key, _ in selector.select(0):
                    key.data(key.fileobj)
                return name in answered

            wait_until(served, timeout_s=10, what=name)
            prober.close()
    assert len(selector.get_map()) == 0


@pytest.mark.parametrize("greets", [False, True])
@pytest.mark.parametrize("closes", [False, True])
def test_a_process_answers_by_closing(closes: bool, greets: bool) -> None:
    """One that stands still is accepted by its kernel and never closes; where nobody listens is no process; nothing is left open."""
    selector, processes = selectors.DefaultSelector(), []
    with socket.socket() as closed, socket.socket() as listening:
        closed.bind(("127.0.0.1", 0))
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        prober = Prober(selector, lambda _: None, port=1, process_answered=processes.append)
        prober.ask("nobody", "127.0.0.1", closed.getsockname()[1], 0)
        prober.ask("process", "127.0.0.1", listening.getsockname()[1], 0)
        others = len(selector.get_map()) - 1

        def gone(count: int) -> bool:
            for key, _ in selector.select(0):
                key.data(key.fileobj)
            return len(selector.get_map()) == count

        wait_until(lambda: gone(others), timeout_s=10, what="that nobody listens")
        if closes:
            peer, _ = listening.accept()
            with peer:
                peer.sendall(b"hello" if greets else b"")
            wait_until(lambda: gone(others - 1), timeout_s=10, what="the close")
        for now_ms in (PATIENCE_MS - 1, PATIENCE_MS):
            assert gone(others - closes)
            prober.expire(now_ms)
        assert gone(others - 1)
        assert processes == (["process"] if closes else [])
        prober.close()
    assert len(selector.get_map()) == 0


def test_echo_replies_are_known_by_their_payload() -> None:
    """What does not carry our random bytes, or is no reply, is not an answer."""
    request = echo_request(7, TOKEN)
    assert checksum(request) == 0
    reply = b"\x00" + request[1:]
    assert is_echo_reply(reply, TOKEN, raw=False)
    assert is_echo_reply(b"\x45" + bytes(19) + reply, TOKEN, raw=True)
    assert not is_echo_reply(request, TOKEN, raw=False)
    assert not is_echo_reply(reply[:-1] + b"x", TOKEN, raw=False)
    for length in range(len(reply)):
        assert not is_echo_reply(reply[:length], TOKEN, raw=False)
        assert not is_echo_reply(reply[:length], TOKEN, raw=True)


def test_a_disk_that_takes_writes_is_well(tmp_path: Path) -> None:
    """Nothing is left behind."""
    check = check_disk(tmp_path, clock=SystemClock())
    assert check.errno == ""
    assert 0 < check.free_share <= 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_none_names_the_error(tmp_path: Path) -> None:
    """A missing folder and one whose file cannot be opened are errors of the disk, by name."""
    assert check_disk(tmp_path / "gone", clock=SystemClock()).errno == errno.errorcode[errno.ENOENT]
    (tmp_path / PROBE_FILE).mkdir()
    assert check_disk(tmp_path, clock=SystemClock()).errno == errno.errorcode[errno.EISDIR]


def test_a_write_that_hangs_is_slow_while_it_hangs(tmp_path: Path) -> None:
    """A named pipe that nobody reads holds the open as a dying disk holds a write."""
    os.mkfifo(tmp_path / PROBE_FILE)
    clock = FakeClock()
    checker = SelfChecker([tmp_path], clock=clock)
    assert checker.poll(slow_ms=2000) is None
    clock.advance(1.5)
    assert checker.poll(slow_ms=2000) is None
    clock.advance(1.0)
    hanging = checker.poll(slow_ms=2000)
    assert hanging is not None
    assert hanging.disks[0].elapsed_ms == 2500
    # A hanging check counts when one is due, and not at each look.
    assert checker.poll(slow_ms=2000, begin=False) is None
    reader = os.open(tmp_path / PROBE_FILE, os.O_RDONLY)  # lets the thread go
    wait_until(lambda: checker.poll(slow_ms=10_000) is not None, timeout_s=10, what="the end of the check")
    os.close(reader)


def test_memory_is_read_from_the_system() -> None:
    """A share of the whole; 1 when the file is not understood."""
    assert memory_free_share("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n") == 0.25
    assert memory_free_share("") == 1.0
    assert 0 < memory_free_share() <= 1


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:0", "host:65536", "host:x"])
def test_bad_addresses_are_refused(text: str) -> None:
    """With the form that is expected."""
    with pytest.raises(Invalid, match="address is not host:port"):
        parse_address(text)


def test_peers_are_named() -> None:
    """An observer votes under its name."""
    assert parse_peers("o2=127.0.0.1:1, o3=127.0.0.1:2") == {"o2": ("127.0.0.1", 1), "o3": ("127.0.0.1", 2)}
    with pytest.raises(Invalid, match="peer is not name=host:port"):
        parse_peers("127.0.0.1:1")


class FakeFlink:
    """A ResourceManager that fails as often as it is told to."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.block_failures = 0
        self.free = 1
        self.alive = 0  # how often a leader that shall be revoked still answers
        self.registered = {"tm-1": "10.0.0.1", "tm-2": "10.0.0.2"}
        self.requests: list[object] = []

    def _maybe_fail(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise Unavailable("resource manager does not answer")

    def disconnect(self, request: Disconnect) -> Disconnected:
        """Forget them."""
        self._maybe_fail()
        self.requests.append(request)
        gone = tuple(name for name in request.ids if self.registered.pop(name, None))
        return Disconnected(gone=gone, unknown=tuple(name for name in request.ids if name not in gone))

    def list_task_managers(self, _: ListTaskManagers) -> TaskManagers:
        """Those that are left."""
        self._maybe_fail()
        rows = (
            TaskManagerRow(
                id=name, node=node, last_heartbeat_ms=5, slots=1, free_slots=self.free, blocked=False, data_port=6121
            )
            for name, node in self.registered.items()
        )
        return TaskManagers(rows=tuple(rows), leader="l")

    def block_nodes(self, request: BlockNodes) -> NodesBlocked:
        """Taken, unless it shall fail."""
        if self.block_failures > 0:
            self.block_failures -= 1
            raise Unavailable("resource manager does not answer")
        self.requests.append(request)
        return NodesBlocked(count=len(request.blocks))

    def revoke_leader(self, request: RevokeLeader) -> LeaderRevoked:
        """Done, unless it still answers."""
        if self.alive > 0:
            self.alive -= 1
            raise Unavailable("the convicted leader still answers")
        self.requests.append(request)
        return LeaderRevoked(outcome=Revocation.REVOKED, leader="l", nodes=("latch/1",))


class Teller:
    """A realizer with its world."""

    def __init__(self, flink: FakeFlink, still_holds: Callable[[Order], bool] = lambda _: True) -> None:
        self.clock = FakeClock()
        self.events: list[str] = []
        self.fields: list[dict[str, object]] = []
        self.heard: list[dict[str, FlinkHeard]] = []
        self.realizer = Realizer(
            flink, clock=self.clock, tell=self._tell, still_holds=still_holds, heard=self.heard.append
        )

    def _tell(self, event: str, **fields: object) -> None:
        self.events.append(event)
        self.fields.append(fields)

    def order(self, *names: str, block_s: float = 0.0, leaders: tuple[str, ...] = ()) -> Order:
        """A verdict of now."""
        verdict = Verdict("h1", FailureClass.HOST_LOST, votes=("o1", "o2"))
        return Order(verdict, names, self.clock.monotonic_s(), "10.9.9.9", block_s, leaders)


def test_a_verdict_is_told_with_its_cause() -> None:
    """Flink shows the cause; an unknown TaskManager is no error."""
    flink = FakeFlink()
    teller = Teller(flink)
    assert teller.realizer.carry_out(teller.order("tm-1", "tm-9"))
    assert teller.events == ["verdict_told"]
    assert (teller.fields[0]["gone"], teller.fields[0]["unknown"]) == (["tm-1"], ["tm-9"])
    assert flink.requests == [
        Disconnect(ids=("tm-1", "tm-9"), cause="Hawk: host_lost, host h1, observers o1, o2"),
    ]


def test_a_lost_leader_is_revoked_before_anything_else() -> None:
    """Before that there is no ResourceManager that could be told of the host's TaskManagers."""
    flink = FakeFlink()
    teller = Teller(flink)
    assert teller.realizer.carry_out(teller.order("tm-1", leaders=("jobmanager-1",)))
    assert [type(request) for request in flink.requests] == [RevokeLeader, Disconnect]
    revoke = flink.requests[0]
    assert isinstance(revoke, RevokeLeader)
    assert revoke.hosts == ("10.9.9.9", "h1")
    assert teller.events == ["leader_revoked", "verdict_told"]
    assert teller.fields[0]["outcome"] == Revocation.REVOKED


def test_a_host_with_nothing_but_a_job_manager_is_told_without_a_disconnect() -> None:
    """Neither is it blocked: it gets no tasks."""
    flink = FakeFlink(failures=10_000)
    teller = Teller(flink)
    assert teller.realizer.carry_out(teller.order(leaders=("jobmanager-1",), block_s=60))
    assert [type(request) for request in flink.requests] == [RevokeLeader]


def test_a_leader_that_still_answers_is_tried_again() -> None:
    """Its agent is about to kill it; until then nothing is taken from it."""
    flink = FakeFlink()
    flink.alive = 2
    teller = Teller(flink)
    assert teller.realizer.carry_out(teller.order(leaders=("jobmanager-1",)))
    assert teller.events == ["verdict_not_told"] * 2 + ["leader_revoked", "verdict_told"]
    flink.alive = 10_000
    assert not teller.realizer.carry_out(teller.order(leaders=("jobmanager-1",)))
    assert teller.events[-1] == "verdict_dropped"


def test_a_job_manager_that_is_away_is_tried_again() -> None:
    """Until it is back; each failure is told, nothing is lost."""
    teller = Teller(FakeFlink(failures=7))
    assert teller.realizer.carry_out(teller.order("tm-1"))
    assert teller.events == ["verdict_not_told"] * 7 + ["verdict_told"]
    assert teller.clock.sleeps == [RETRY_S] * 7


def test_a_verdict_that_is_too_old_is_dropped() -> None:
    """Flink's own time-out has acted by then."""
    teller = Teller(FakeFlink(failures=10_000))
    assert not teller.realizer.carry_out(teller.order("tm-1"))
    assert teller.events[-1] == "verdict_dropped"
    assert teller.clock.monotonic_s() <= GIVE_UP_S + 2 * RETRY_S


def test_a_verdict_that_no_longer_holds_is_not_repeated() -> None:
    """The TaskManager that was started under the same name must not be dropped for its predecessor."""
    flink = FakeFlink(failures=1)
    teller = Teller(flink, still_holds=lambda _: False)
    assert not teller.realizer.carry_out(teller.order("tm-1"))
    assert flink.requests == []


def test_a_host_on_probation_is_blocked_by_flinks_name_for_it() -> None:
    """As its TaskManagers registered; by the agent's address when Flink has never listed any."""
    flink = FakeFlink()
    teller = Teller(flink)
    teller.realizer.poll_once()
    assert teller.heard == [dict.fromkeys(("tm-1", "tm-2"), FlinkHeard(5, 6121))]
    for names in (("tm-1",), ("tm-7",)):
        assert teller.realizer.carry_out(teller.order(*names, block_s=60))
    blocked = [block for each in flink.requests if isinstance(each, BlockNodes) for block in each.blocks]
    assert [block.node for block in blocked] == ["10.0.0.1", "10.9.9.9"]
    assert blocked[0].until_ms == teller.clock.now_ms() + 60_000


def test_an_unreachable_flink_is_told_once() -> None:
    """And once when it is back."""
    teller = Teller(FakeFlink(failures=3))
    for _ in range(5):
        teller.realizer.poll_once()
    assert teller.events == ["flink_unreachable", "flink_reachable"]


def manager(node: str, slots: int, free: int, *, blocked: bool = False) -> TaskManagerRow:
    """A TaskManager as Flink lists it."""
    return TaskManagerRow(
        id=f"tm-{node}", node=node, last_heartbeat_ms=5, slots=slots, free_slots=free, blocked=blocked
    )


def test_a_cluster_that_cannot_lose_a_host_is_told() -> None:
    """What runs on one host has to fit the others' free slots; blocked ones do not help."""
    assert find_exposed([]) == ()
    assert find_exposed([manager("a", 2, 0), manager("b", 2, 2)]) == ()
    assert find_exposed([manager("a", 2, 0), manager("b", 2, 1)]) == ("a", "b")
    assert find_exposed([manager("a", 2, 1), manager("b", 2, 1), manager("c", 2, 1)]) == ()
    assert find_exposed([manager("a", 2, 0), manager("b", 2, 2, blocked=True)]) == ("a",)


def test_the_loss_of_all_spares_and_their_return_are_told_once() -> None:
    """However often Flink is asked."""
    flink = FakeFlink()
    teller = Teller(flink)
    flink.free = 0
    for free in (0, 0, 1, 1):
        flink.free = free
        teller.realizer.poll_once()
    assert teller.events == ["spares_short", "spares_enough"]


def test_the_way_to_flink_is_kept_open_while_no_verdict_waits() -> None:
    """The first call to a JobManager takes seconds, which a verdict must not wait for; one that is away is asked again."""
    flink = FakeFlink(failures=2)
    teller = Teller(flink)
    teller.realizer.start_telling(keep_open_s=0.001)
    wait_until(lambda: flink.failures == 0, timeout_s=60, what="two questions")
    teller.realizer.order(teller.order("tm-1"))
    wait_until(lambda: teller.events == ["verdict_told"], timeout_s=60, what="the verdict")
    teller.realizer.stop()


def test_one_machine_tells_a_lost_process_once(tmp_path: Path) -> None:
    """Without observers: the end of a process is the verdict, and it is not repeated for its successor."""
    hawk = LocalHawk(tmp_path, FakeFlink(), clock=SystemClock())
    for _ in range(2):
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
        orphans.write_pid(tmp_path, "taskmanager-1", child.pid)
        assert hawk.turn(0) == []
        child.kill()
        child.wait()
        (order,) = wait_until(lambda: hawk.turn(0), timeout_s=10, what="the verdict")
        assert order.verdict == Verdict("local", FailureClass.PROCESS_LOST, "taskmanager-1", child.pid)
    assert hawk.turn(0) == []
    events = [msgspec.json.decode(line) for line in (tmp_path / EVENTS_FILE).read_bytes().splitlines()]
    assert [(each["event"], each["host"], each["process"]) for each in events] == [
        ("verdict", "local", "taskmanager-1")
    ] * 2


def test_retired_hosts_stay_blocked_until_they_are_readmitted() -> None:
    """The block is short and renewed, by the nodes that Flink knows; a host without TaskManagers is named by its address."""
    flink = FakeFlink()
    teller = Teller(flink)
    kept = {"h1": KeptOff(("tm-1", "gone"), "192.0.2.1", "5 strikes"), "h9": KeptOff((), "192.0.2.9", "by hand")}
    teller.realizer.poll_once()
    teller.realizer.keep_off(kept)
    for _ in range(3):
        teller.realizer.poll_once()
    (request,) = flink.requests
    assert isinstance(request, BlockNodes)
    assert [block.node for block in request.blocks] == ["10.0.0.1", "192.0.2.9"]
    assert {block.until_ms - teller.clock.now_ms() for block in request.blocks} == {round(KEEP_OFF_S * 1000)}
    teller.clock.advance(RENEW_S)
    teller.realizer.poll_once()
    assert len(flink.requests) == 2
    teller.realizer.keep_off({})
    teller.clock.advance(2 * RENEW_S)
    teller.realizer.poll_once()
    assert len(flink.requests) == 2


def test_a_block_that_flink_did_not_take_is_tried_at_the_next_poll() -> None:
    """And it is said."""
    flink = FakeFlink()
    teller = Teller(flink)
    flink.block_failures = 1
    teller.realizer.keep_off({"h1": KeptOff(("tm-1",), "192.0.2.1", "by hand")})
    teller.realizer.poll_once()
    assert "retired_not_blocked" in teller.events
    teller.realizer.poll_once()
    assert len(flink.requests) == 1
